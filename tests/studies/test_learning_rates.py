"""Which learning rates count as usable, against sweeps whose answer is worked by hand."""

import numpy as np
import pytest
from made_up_trainings import LEARNING_RATES, write_sweep, write_training

from bn_repro.measures.accuracy import final_accuracy
from bn_repro.studies import learning_rates
from bn_repro.verdicts.selection import Sweep, sweeps_of


@pytest.fixture
def make(tmp_path):
    def make(norm: str, seed: int, usable: int, gain: float = 0.0) -> Sweep:
        write_sweep(tmp_path, "lr_sweep/quick", norm, seed, usable, gain)
        return sweeps_of(tmp_path, f"lr_sweep/{norm}", "quick")[seed]

    return make


def test_usable_is_halfway_from_chance_to_the_references_best(make):
    sweep = make("none", 0, usable=2)
    best = final_accuracy(sweep[0.1])
    assert learning_rates.usable_threshold([sweep]) == pytest.approx((10 + best) / 2)
    assert learning_rates.largest_usable_lr(sweep, 50) == 0.1
    assert learning_rates.largest_usable_lr(sweep, 90) is None


def test_a_ratio_lies_between_the_points_of_the_grid(make):
    """Without BN the limit lies between 0.01 and 0.1, with BN between 1 and 10: the ratio between 10 and 1000, in all six seeds."""
    pairs = [(make("none", seed, usable=1), make("batch", seed, usable=3)) for seed in range(6)]
    sample = learning_rates.usable_ratio(pairs)
    assert (sample.value, sample.low, sample.high) == pytest.approx((100, 10, 1000))
    assert sample.p_above(1) == pytest.approx(1 / 64)


def test_the_largest_rate_of_all_leaves_the_interval_open(make):
    pairs = [(make("none", seed, usable=1), make("batch", seed, usable=len(LEARNING_RATES))) for seed in range(6)]
    sample = learning_rates.usable_ratio(pairs)
    assert sample.low == pytest.approx(100) and np.isinf(sample.high)
    reverse = learning_rates.usable_ratio([(subject, reference) for reference, subject in pairs])
    assert reverse.low == 0 and reverse.high == pytest.approx(0.01)


def test_no_usable_rate_leaves_the_interval_open_too(make):
    none = make("none", 0, usable=0)
    assert learning_rates.limit_of(none, 50) == (0, 0.01)
    sample = learning_rates.usable_ratio([(make("batch", seed, usable=2), none) for seed in range(6)])
    assert sample.low == 0 and sample.high == pytest.approx(0.1)


def test_the_best_rate_of_a_seed_is_chosen_by_the_other_seeds(tmp_path):
    table = {0: (0.9, 0.5), 1: (0.6, 0.5), 2: (0.4, 0.7)}  # accuracies at 0.01 and 0.1
    for seed, accuracies in table.items():
        for lr, accuracy in zip((0.01, 0.1), accuracies):
            write_training(tmp_path, f"lr_sweep/quick/none-s{seed},train.lr={lr:g}", [0.1, accuracy], lr=lr)
    found = learning_rates.at_best_lr(list(sweeps_of(tmp_path, "lr_sweep/none", "quick").values()))
    assert list(map(final_accuracy, found)) == pytest.approx([50, 60, 40])  # for seed 0 the others prefer 0.1, by 0.6 to 0.5


def test_a_seed_that_lacks_a_rate_is_left_out(make, tmp_path):
    make("none", 0, usable=2)
    write_training(tmp_path, "lr_sweep/quick/none-s1,train.lr=0.01", [0.1, 0.5])
    write_training(tmp_path, "lr_sweep/quick/none-s0,network.depth=5,train.lr=0.01", [0.1, 0.5])
    assert list(sweeps_of(tmp_path, "lr_sweep/none", "quick")) == [0]
