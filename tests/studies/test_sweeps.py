"""Which learning rates count as usable, against sweeps whose answer is worked by hand."""

import numpy as np
import pytest
from made_up_trainings import LEARNING_RATES, write_sweep, write_training

from bn_repro.studies import sweeps
from bn_repro.verdicts.selection import sweeps_of


@pytest.fixture
def make(tmp_path):
    def make(norm: str, seed: int, usable: int, gain: float = 0.0) -> sweeps.Sweep:
        write_sweep(tmp_path, "lr_sweep/quick", norm, seed, usable, gain)
        return sweeps_of(tmp_path, f"lr_sweep/{norm}", "quick")[seed]

    return make


def test_usable_is_halfway_from_chance_to_the_references_best(make):
    sweep = make("none", 0, usable=2)
    best = sweeps.final_accuracies(sweep)[0.1]
    assert sweeps.usable_threshold([sweep]) == pytest.approx((0.1 + best) / 2)
    assert sweeps.largest_usable_lr(sweep, 0.5) == 0.1
    assert sweeps.largest_usable_lr(sweep, 0.9) is None


def test_the_ratio_is_as_uncertain_as_the_grid_is_wide(make):
    pairs = [(make("none", seed, usable=1), make("batch", seed, usable=3)) for seed in range(3)]
    estimate = sweeps.usable_ratio(pairs)
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((100, 10, 1000))


def test_the_largest_rate_of_all_leaves_the_interval_open(make):
    pairs = [(make("none", seed, usable=1), make("batch", seed, usable=len(LEARNING_RATES))) for seed in range(3)]
    estimate = sweeps.usable_ratio(pairs)
    assert estimate.low == pytest.approx(100) and np.isinf(estimate.high)
    reverse = sweeps.usable_ratio([(subject, reference) for reference, subject in pairs])
    assert reverse.low == 0 and reverse.high == pytest.approx(0.01)


def test_the_best_rate_of_a_seed_is_chosen_by_the_other_seeds(tmp_path):
    table = {0: (0.9, 0.5), 1: (0.6, 0.5), 2: (0.4, 0.7)}  # accuracies at 0.01 and 0.1
    for seed, accuracies in table.items():
        for lr, accuracy in zip((0.01, 0.1), accuracies):
            write_training(tmp_path, f"lr_sweep/quick/none-s{seed},train.lr={lr:g}", [0.1, accuracy], lr=lr)
    found = sweeps.accuracies_at_best_lr(list(sweeps_of(tmp_path, "lr_sweep/none", "quick").values()))
    assert found == pytest.approx([50, 60, 40])  # for seed 0 the others prefer 0.1, by 0.6 to 0.5


def test_a_seed_that_lacks_a_rate_is_left_out(make, tmp_path):
    make("none", 0, usable=2)
    write_training(tmp_path, "lr_sweep/quick/none-s1,train.lr=0.01", [0.1, 0.5])
    write_training(tmp_path, "lr_sweep/quick/none-s0,network.depth=5,train.lr=0.01", [0.1, 0.5])
    assert list(sweeps_of(tmp_path, "lr_sweep/none", "quick")) == [0]
