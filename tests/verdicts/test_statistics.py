"""Intervals and p-values against numbers worked by hand, and against the edge cases: all equal, one seed, all failed, all censored."""

import math

import numpy as np
import pytest
from scipy import stats

from bn_repro.verdicts.censored import GridRatio, Ratio
from bn_repro.verdicts.rules import NOT_REPRODUCED, REPRODUCED, Above
from bn_repro.verdicts.statistics import Mean, Share, q_values

T_2, T_4 = 4.302652729911275, 2.7764451051977934  # Student's t, 97.5 %, 2 and 4 degrees of freedom


def test_interval_of_three_values_by_hand():
    sample = Mean([1.0, 2.0, 3.0])
    half = T_2 * 1.0 / math.sqrt(3)
    assert (sample.value, sample.low, sample.high, sample.n) == pytest.approx((2, 2 - half, 2 + half, 3))


def test_the_p_value_is_that_of_the_t_test():
    values = [0.3, 1.2, 0.8, 0.1, 0.9]
    assert Mean(values).p_above(0.2) == pytest.approx(stats.ttest_1samp(values, 0.2, alternative="greater").pvalue)
    assert Mean(values).p_below(2.0) == pytest.approx(stats.ttest_1samp(values, 2.0, alternative="less").pvalue)


def test_test_images_widen_an_interval_that_seeds_alone_would_make_narrow():
    sample = Mean([1.0, 1.0, 1.0, 1.0, 1.0], variance_besides=0.09)
    assert (sample.low, sample.high) == pytest.approx((1 - 0.3 * T_4, 1 + 0.3 * T_4))
    assert sample.p_above(0) == pytest.approx(stats.t.sf(1 / 0.3, 4))
    assert sample.seeds_to_exclude(0.9) is None  # not even with a thousand seeds


def test_an_error_known_from_few_games_has_their_degrees_of_freedom():
    """By hand: 0.25 / 5 over seeds and 0.15 over three games are 0.2; 0.2^2 / (0.05^2 / 4 + 0.15^2 / 2) = 3.37 degrees, rounded down."""
    values = np.array([-1.0, 0, 0, 0, 1]) * np.sqrt(0.5) + 2
    sample = Mean(values, variance_besides=0.15, freedom_besides=2)
    assert values.var(ddof=1) == pytest.approx(0.25)
    assert sample.high == pytest.approx(2 + stats.t.ppf(0.975, 3) * np.sqrt(0.2))
    assert sample.p_above(1.0) == pytest.approx(stats.t.sf(1 / np.sqrt(0.2), 3))
    assert sample.low < Mean(values, variance_besides=0.15).low


def test_all_equal_values_have_no_width():
    sample = Mean([2.0, 2.0, 2.0, 2.0, 2.0])
    assert (sample.low, sample.high, sample.p_above(1.0), sample.p_above(2.0), sample.p_below(1.0)) == (2, 2, 0, 1, 1)


def test_one_seed_tells_nothing_of_the_spread():
    for sample in (Mean([5.0]), Ratio.of([5.0]), GridRatio([5.0], [6.0])):
        assert sample.low in (-math.inf, 0) and sample.high == math.inf and sample.n == 1
        assert sample.p_above(1) == pytest.approx(0.5 if isinstance(sample, GridRatio) else 1)


def test_an_error_that_is_infinite_everywhere_is_above_any_bound():
    sample = Mean([math.inf, math.inf, math.inf, math.inf, math.inf])
    assert sample.low == math.inf and sample.p_above(10) == 0 and sample.p_below(10) == 1
    assert Mean([1.0, math.inf]).low == -math.inf and Mean([1.0, math.inf]).p_above(0) == 1


def test_ratios_are_averaged_on_a_logarithmic_scale():
    sample = Ratio.of([2.0, 8.0])
    half = 12.706204736432095 * math.log(8 / 2) / math.sqrt(2) / math.sqrt(2)
    assert (sample.value, sample.low, sample.high) == pytest.approx((4, 4 * math.exp(-half), 4 * math.exp(half)))


def test_a_run_that_never_arrives_bounds_its_ratio_on_one_side():
    """Of five subjects the last had not arrived when the reference had taken 0.5 of its steps."""
    sample = Ratio([0.6, 0.7, 0.6, 0.7, 0.0], [0.6, 0.7, 0.6, 0.7, 0.5])
    assert sample.low == 0 and sample.high == pytest.approx(Ratio.of([0.6, 0.7, 0.6, 0.7, 0.5]).high)
    assert sample.p_above(0.1) == 1 and sample.p_below(14.8) < 1e-6
    mirrored = Ratio([2.0, 2.5, 2.2, 2.1, 3.0], [2.0, 2.5, 2.2, 2.1, math.inf])
    assert mirrored.high == math.inf and mirrored.low == pytest.approx(Ratio.of([2.0, 2.5, 2.2, 2.1, 3.0]).low)
    assert mirrored.p_above(1) < 0.001


def test_all_censored():
    never = Ratio([0.0] * 5, [math.inf] * 5)
    assert (never.low, never.high, never.p_above(1), never.p_below(1)) == (0, math.inf, 1, 1) and math.isnan(never.value)
    no_subject = Ratio([0.0] * 5, [0.3, 0.4, 0.3, 0.4, 0.3])
    assert no_subject.low == 0 and 0.3 < no_subject.high < 0.5 and no_subject.p_below(1) < 1e-4 and math.isnan(no_subject.value)
    no_reference = Ratio([2.0, 2.5, 2.2, 2.1, 3.0], [math.inf] * 5)
    assert no_reference.value == no_reference.high == math.inf and no_reference.low > 1.8
    assert Above(1, 14.8).verdict(no_reference) == REPRODUCED and Above(1, 14.8).verdict(no_subject) == NOT_REPRODUCED


def test_a_grid_of_spacing_3_decides_by_the_signs_of_six_seeds():
    """Every seed's ratio lies between 3 and 30: its limit is one to three points higher."""
    sample = GridRatio([3.0] * 6, [30.0] * 6)
    assert (sample.low, sample.high) == (3, 30)
    assert sample.p_above(1) == pytest.approx(1 / 64) and sample.p_above(3) == pytest.approx(1 / 64) and sample.p_above(4) == 1
    assert sample.p_below(30) == pytest.approx(1 / 64) and sample.p_below(29) == 1


def test_a_grid_leaves_out_one_seed_of_ten_and_needs_six():
    lows = [1 / 3, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert GridRatio(lows, [9.0] * 10).low == 1 and GridRatio(lows, [9.0] * 10).p_above(1) == pytest.approx(11 / 1024)
    assert GridRatio([3.0] * 5, [9.0] * 5).low == 0 and GridRatio([3.0] * 5, [9.0] * 5).p_above(1) == pytest.approx(1 / 32)


def test_the_grid_may_end_before_the_limits():
    sample = GridRatio([3.0] * 6, [math.inf] * 6)
    assert sample.value == pytest.approx(3) and sample.high == math.inf and sample.p_above(1) < 0.025


def test_shares_have_the_exact_interval_of_clopper_and_pearson():
    """Three of three prove nothing; six of six just do; none of six is below a half."""
    assert (Share(3, 3).low, Share(3, 3).high) == pytest.approx((0.025 ** (1 / 3), 1))
    assert Share(6, 6).low == pytest.approx(0.025 ** (1 / 6)) and Share(6, 6).p_above(0.5) == pytest.approx(1 / 64)
    assert (Share(0, 6).low, Share(0, 6).high) == pytest.approx((0, 1 - 0.025 ** (1 / 6)))
    expected = stats.binomtest(2, 9).proportion_ci(0.95, method="exact")
    assert (Share(2, 9).low, Share(2, 9).high) == pytest.approx((expected.low, expected.high))


def test_q_values_by_hand():
    """Of four p-values, in order 0.01, 0.02, 0.03, 0.5: each times 4 over its rank, never above that of a larger one."""
    assert q_values([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.04, 0.5, 0.04, 0.04])
    assert q_values([]) == []


def test_the_number_of_seeds_that_decides_has_that_power():
    """By simulation at the number given for a mean one standard deviation from the bound: 80 % of intervals exclude it."""
    generator = np.random.default_rng(0)
    n = Mean((generator.standard_normal(400) + 1).tolist()).seeds_to_exclude(0)
    assert 8 <= n <= 13
    found = [Mean(generator.normal(1, 1, n)).p_above(0) <= 0.025 for _ in range(1000)]
    assert 0.74 <= np.mean(found) <= 0.92


def test_shares_and_grids_say_how_many_seeds_decide():
    assert Share(3, 3).seeds_to_exclude(0.5) == 12
    assert GridRatio([3.0] * 3, [9.0] * 3).seeds_to_exclude(1) == 12
    assert Share(1, 2).seeds_to_exclude(0.5) is None


def test_no_number_of_seeds_excludes_what_censoring_leaves_open():
    at_least = Ratio([0.9, 0.95, 1.0, 0.9, 0.95], [math.inf] * 5)
    assert at_least.seeds_to_exclude(1) is at_least.seeds_to_exclude(11.5) is None and at_least.seeds_to_exclude(0.5) == 5
    at_most = Ratio([0.0] * 5, [2.0, 2.1, 2.0, 1.9, 2.0])
    assert at_most.seeds_to_exclude(1) is None and at_most.seeds_to_exclude(11.5) == 5


def test_an_interval_ends_where_the_mean_can_be_no_larger():
    shares = [0.2, 0.9, 0.9, 0.9, 0.9]
    free, ended = Mean(shares), Mean(shares, least=-1.0, most=1.0)
    assert ended.high == 1 < free.high and ended.low == free.low and ended.p_above(0.5) == free.p_above(0.5)
    turned = [-share for share in shares]
    assert Mean(turned, least=-1.0).low == -1 > Mean(turned).low
