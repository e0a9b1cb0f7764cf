"""Do evolution strategies step as a reference worked by hand does, pair for pair?"""

import numpy as np
import pytest
import torch
from toys import playing, train_config

from bn_repro.evolution.noise import Purpose, noise, seed_of
from bn_repro.evolution.strategies import Strategies, centred_ranks, perturbed, weighted_noise

SIZE, SIGMA, LR, L2, SEED = 6, 0.1, 0.05, 0.005, 4
TARGET = np.linspace(-1, 1, SIZE)


def quadratic(parameters):
    return -((np.asarray(parameters, float) - TARGET) ** 2).sum()


def ranks_by_hand(scores):
    """Count, for each score, those below and half of its equals; scale to [-1/2, 1/2]."""
    ranks = [sum(other < score for other in scores) + (sum(other == score for other in scores) - 1) / 2 for score in scores]
    return np.array(ranks) / (len(scores) - 1) - 0.5


def steps_by_hand(num_steps, num_pairs):
    """Salimans et al. 2017, Algorithm 2 with mirrored sampling, in float64: g = sum of w e / 2n; Adam descends -g + L2 theta."""
    theta, m, v = np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE)
    for step in range(num_steps):
        noises = [noise(seed_of(SEED, Purpose.PERTURBATION, step, pair), SIZE).double().numpy() for pair in range(num_pairs)]
        scores = [quadratic(theta + sign * SIGMA * e) for e in noises for sign in (1, -1)]
        ranks = ranks_by_hand(scores)
        g = sum((ranks[2 * pair] - ranks[2 * pair + 1]) * e for pair, e in enumerate(noises)) / (2 * num_pairs)
        descent = -g + L2 * theta
        m, v = 0.9 * m + 0.1 * descent, 0.999 * v + 0.001 * descent**2
        theta = theta - LR * (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
        yield theta


def strategies(num_pairs):
    config = train_config(population=2 * num_pairs, sigma=SIGMA, lr=LR, weight_decay=L2)
    return Strategies(torch.zeros(SIZE), config, SEED)


def test_on_a_quadratic_step_for_step():
    ours, play = strategies(10), playing(lambda genome, _: quadratic(genome))
    for step, expected in enumerate(steps_by_hand(60, 10)):
        ours.generation(step, play)
        np.testing.assert_allclose(ours.best.numpy(), expected, rtol=1e-3, atol=1e-4)
    assert quadratic(ours.best) > -0.1 > quadratic(np.zeros(SIZE))


def test_a_resumed_run_steps_on_to_the_same_bits():
    play = playing(lambda genome, _: quadratic(genome))
    whole, first = strategies(3), strategies(3)
    for step in range(6):
        whole.generation(step, play)
        if step < 3:
            first.generation(step, play)
    again = strategies(3)
    again.restore(first.as_plain())
    for step in range(3, 6):
        again.generation(step, play)
    assert torch.equal(again.best, whole.best)


def test_where_all_scores_are_equal_nothing_moves():
    ours = Strategies(torch.ones(SIZE), train_config(population=4, sigma=SIGMA, lr=LR, weight_decay=L2), SEED)
    (episodes,) = ours.generation(0, playing(lambda *_: 7.0))
    assert (episodes.scores == 7).all() and (ours.best == 1).all()


@pytest.mark.parametrize(
    "scores, expected",
    [([3, 1, 2], [0.5, -0.5, 0.0]), ([5, 5], [0, 0]), ([0, 0, 0, 9], [-1 / 6, -1 / 6, -1 / 6, 0.5]), ([2, 1, 1, 0], [0.5, 0, 0, -0.5])],
)
def test_centred_ranks(scores, expected):
    np.testing.assert_allclose(centred_ranks(np.array(scores, float)), expected, atol=1e-12)
    np.testing.assert_allclose(ranks_by_hand(scores), expected, atol=1e-12)


def test_perturbations_are_mirrored_and_drawn_from_their_seed():
    parent = torch.arange(5.0)
    up, down = perturbed(parent, 3, 0.1)(), perturbed(parent, 3, -0.1)()
    torch.testing.assert_close((up + down) / 2, parent)
    torch.testing.assert_close(up - parent, 0.1 * noise(3, 5))
    torch.testing.assert_close(weighted_noise([3, 4], np.array([2.0, -1.0]), 5), 2 * noise(3, 5) - noise(4, 5))
    assert len({seed_of(0, purpose, 1, 2) for purpose in Purpose}) == len(Purpose)


@pytest.mark.parametrize("scores", [[1.0], [1.0, np.nan, 3.0]])
def test_what_has_no_ranks_is_refused(scores):
    with pytest.raises(ValueError, match="ranks are of two numbers or more"):
        centred_ranks(np.array(scores))
