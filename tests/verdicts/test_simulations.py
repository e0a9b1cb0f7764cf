"""How often the engine errs, by simulation: false REPRODUCED under nulls of many shapes, coverage of every interval, and power."""

import math

import numpy as np
import pytest

from bn_repro.verdicts.censored import GridRatio, Ratio
from bn_repro.verdicts.rules import REPRODUCED, Above
from bn_repro.verdicts.statistics import Mean, Share

REPETITIONS = 1000
GRID = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])


def normal(generator, n):
    return Mean(generator.standard_normal(n)), Above(0, 1)


def heavy_tailed(generator, n):
    return Mean(generator.standard_t(2, n)), Above(0, 1)


def one_arm_fails(generator, n):
    """Accuracies of both arms, each at chance in three seeds of ten."""
    arms = np.where(generator.random((2, n)) < 0.3, 10.0, generator.normal(97, 0.3, (2, n)))
    return Mean(arms[1] - arms[0]), Above(0, 0.2)


def censored(generator, n):
    """Steps to a target of two arms alike, of which neither is given more than the median plus a quarter."""
    needed, given = generator.lognormal(0, 0.5, (2, n)), 1.25
    never = needed > given
    lows = np.where(never[1], 0.0, np.minimum(needed[0], given) / np.minimum(needed[1], given))
    highs = np.where(never[0], np.inf, np.minimum(needed[0], given) / np.minimum(needed[1], given))
    return Ratio(lows, highs), Above(1, 1.5)


def grid(generator, n):
    """Largest usable rates of two arms alike, each known to lie between two points of a grid."""
    limits = np.exp(generator.normal(math.log(0.5), 1.0, (2, n)))
    point = np.clip(np.searchsorted(GRID, limits) - 1, 0, len(GRID) - 2)
    below, above = GRID[point], GRID[point + 1]
    return GridRatio(below[1] / above[0], above[1] / below[0]), Above(1, 3)


def coin(generator, n):
    return Share(int(generator.binomial(n, 0.5)), n), Above(0.5, 0.9)


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("null", [normal, heavy_tailed, one_arm_fails, censored, grid, coin])
def test_at_most_one_null_in_forty_is_called_reproduced(null, n):
    generator = np.random.default_rng(7)
    called = 0
    for _ in range(REPETITIONS):
        sample, rule = null(generator, n)
        called += rule.verdict(sample) == REPRODUCED
    assert called / REPETITIONS <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / REPETITIONS)
    assert n >= 5 or called == 0


def share_covered(draw, truth, repetitions=REPETITIONS):
    generator = np.random.default_rng(11)
    samples = [draw(generator) for _ in range(repetitions)]
    return np.mean([sample.low <= truth <= sample.high for sample in samples])


ENOUGH = 0.95 - 3 * math.sqrt(0.95 * 0.05 / REPETITIONS)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_coverage_of_means_and_ratios(n):
    assert ENOUGH <= share_covered(lambda g: Mean(g.normal(3, 2, n)), 3) <= 0.97
    assert ENOUGH <= share_covered(lambda g: Ratio.of(g.lognormal(math.log(4), 0.7, n)), 4) <= 0.97


@pytest.mark.parametrize("n", [5, 10])
def test_coverage_of_censored_ratios_of_grids_and_of_shares(n):
    assert share_covered(lambda g: censored(g, n)[0], 1) >= ENOUGH
    assert share_covered(lambda g: grid(g, n)[0], 1) >= ENOUGH
    assert share_covered(lambda g: Share(int(g.binomial(n, 0.2)), n), 0.2) >= ENOUGH


def test_coverage_over_seeds_and_test_images():
    """Differences that vary by seed, by image and by both: the interval with the images covers the truth, that without does not."""

    def draw(generator, has_images=True):
        per_image = 2.0 + generator.normal(0, 30, 400)  # of an image, on average over seeds
        table = per_image + generator.normal(0, 1, (5, 1)) + generator.normal(0, 20, (5, 400))
        return Mean(table.mean(1), variance_besides=table.mean(0).var(ddof=1) / 400 if has_images else 0.0)

    assert share_covered(draw, 2.0, 500) >= 0.94
    assert share_covered(lambda generator: draw(generator, has_images=False), 2.0, 500) < 0.8


@pytest.mark.parametrize("num_games", [3, 8])
def test_coverage_over_seeds_and_games(num_games):
    """Games differ more than seeds: as many are drawn as a study has, and what is asked is the mean of all that could be."""

    def draw(generator):
        of_games, of_seeds, noise = generator.normal(size=num_games), generator.normal(size=(5, 1)), generator.normal(size=(5, num_games))
        table = of_games + 0.3 * of_seeds + 0.5 * noise
        return Mean(table.mean(1), table.mean(0).var(ddof=1) / num_games, freedom_besides=num_games - 1)

    assert share_covered(draw, 0) >= ENOUGH


def test_an_effect_of_twice_the_size_is_found_at_five_seeds():
    """With a standard deviation of half the size for means, and of a factor of 1.2 for ratios."""
    generator = np.random.default_rng(5)
    means = [Above(0, 1).verdict(Mean(generator.normal(2, 0.5, 5))) for _ in range(300)]
    ratios = [Above(1, 1.5).verdict(Ratio.of(generator.lognormal(2 * math.log(1.5), math.log(1.2), 5))) for _ in range(300)]
    assert means.count(REPRODUCED) / 300 > 0.95 and ratios.count(REPRODUCED) / 300 > 0.95


def test_an_effect_that_is_absent_is_denied_not_left_open():
    generator = np.random.default_rng(6)
    verdicts = [Above(1, 14.8).verdict(Ratio.of(generator.lognormal(0, 0.3, 5))) for _ in range(300)]
    assert verdicts.count("NOT REPRODUCED") / 300 > 0.94 and "INCONCLUSIVE" not in verdicts
