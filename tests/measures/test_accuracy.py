"""How far and how fast a run trains, against accuracies whose answer is worked by hand."""

import numpy as np
import pytest
from made_up_trainings import write_training

from bn_repro.measures import accuracy
from bn_repro.measures.contrasts import share_of_seeds
from bn_repro.records.record import Run


@pytest.fixture
def make(tmp_path):
    def make(name: str, accuracies: list[float], has_diverged: bool = False) -> Run:
        write_training(tmp_path, f"inception/quick/{name}", accuracies, has_diverged)
        return Run(tmp_path / f"inception/quick/{name}")

    return make


def test_smoothing_is_the_mean_of_the_last_five_rows_and_of_fewer_at_the_start(make):
    steps, smoothed = accuracy.smoothed_accuracy(make("inception-s0", [0.1, 0.3, 0.2, 0.4, 0.5, 0.6]))
    assert list(steps) == [0, 100, 200, 300, 400, 500]
    assert smoothed == pytest.approx([0.1, 0.2, 0.2, 0.25, 0.3, 0.4])


def test_one_high_row_does_not_count_as_arrival(make):
    run = make("inception-s0", [0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1])
    assert accuracy.steps_to_reach(run, 50) is None
    assert accuracy.best_accuracy(run) == pytest.approx(100 * 1.1 / 3)


def test_a_crossing_is_interpolated_between_rows(make):
    """Smoothed: 0.1 at 0, 0.2 at 100, 0.3 at 200; 25 % is crossed half way between the last two."""
    run = make("inception-s0", [0.1, 0.3, 0.5])
    assert accuracy.steps_to_reach(run, 25) == pytest.approx(150)
    assert accuracy.steps_to_reach(run, 20) == pytest.approx(100) and accuracy.steps_to_reach(run, 5) == 1


def test_speedup_by_hand(make):
    reference = make("inception-s0", [0.1, 0.1, 0.1, 0.1, 0.1, 0.6])  # smoothed 0.2 at step 500
    subject = make("bn_x5-s0", [0.1, 0.3, 0.3])  # smoothed 0.2 at step 100
    assert accuracy.speedup(20)([(reference, subject)]).value == pytest.approx(5)


def test_a_run_that_never_arrives_is_censored_at_its_last_step(make):
    """The subject stopped at step 100, the reference needs 500: at most 5 times faster, for all that is known."""
    reference, never = make("inception-s0", [0.1, 0.1, 0.1, 0.1, 0.1, 0.6]), make("bn_x5-s0", [0.1, 0.1])
    sample = accuracy.speedup(20)([(reference, never)])
    assert (sample.lows, sample.highs) == ((0.0,), (pytest.approx(5),))
    reverse = accuracy.speedup(20)([(never, reference)])
    assert reverse.lows == (pytest.approx(1 / 5),) and reverse.highs == (float("inf"),)
    both = accuracy.speedup(90)([(never, reference)])
    assert (both.lows, both.highs) == ((0.0,), (float("inf"),))


def test_a_run_that_reached_infinity_would_never_have_arrived(make):
    """It ended at step 100 of 6,000; the subject needs 500."""
    never, subject = make("bn_x5-s0", [0.1, 0.1], has_diverged=True), make("inception-s0", [0.1, 0.1, 0.1, 0.1, 0.1, 0.6])
    sample = accuracy.speedup(20)([(never, subject)])
    assert sample.lows == (pytest.approx(12),) and sample.highs == (float("inf"),)


def keep_correct(run, is_correct):
    """Let a made-up run say which of its test images are right."""
    run.__dict__["is_correct"] = is_correct
    run.summary["accuracy"] = float(np.mean(is_correct))
    return run


def test_thirteen_of_ten_thousand_images_make_no_claim(make):
    """All seeds agree that BN is right on 13 images more, of 213 on which the arms differ: sure over seeds, not over images."""
    plain, bn = np.ones((2, 10_000), dtype=bool)
    plain[:113], bn[200:300] = False, False
    pairs = []
    for seed in range(5):
        pairs.append((keep_correct(make(f"inception-s{seed}", [0.1, 0.9]), plain), keep_correct(make(f"bn_x5-s{seed}", [0.1, 0.9]), bn)))
    sample = accuracy.accuracy_difference(pairs)
    assert sample.value == pytest.approx(0.13) and np.std(sample.values) == pytest.approx(0, abs=1e-9)
    expected = 1e4 * np.var(bn.astype(float) - plain, ddof=1) / 10_000
    assert sample.variance_besides == pytest.approx(expected) and sample.low < 0


def test_records_that_do_not_say_which_images_are_right_get_the_widest_interval(make):
    pairs = [(make("inception-s0", [0.1, 0.96]), make("bn_x5-s0", [0.1, 0.98]))]
    assert accuracy.accuracy_difference(pairs).variance_besides == pytest.approx(1e4 * (0.04 + 0.02) / 10_000)


def test_a_diverged_run_counts_as_chance(make):
    assert accuracy.final_accuracy(make("inception-s0", [0.1, 0.9], has_diverged=True)) == pytest.approx(10)


def test_shares_of_seeds_that_fail(make):
    runs = [make("inception_x5-s0", [0.1, 0.1]), make("inception_x5-s1", [0.1, 0.5]), make("inception_x5-s2", [0.1, 0.6])]
    sample = share_of_seeds(accuracy.failed_to_train)([(run, run) for run in runs])
    assert (sample.num_true, sample.n) == (1, 3)


@pytest.mark.parametrize(
    ("accuracies", "has_diverged", "is_infinite", "has_failed"),
    [([0.1, 0.1], True, 1, 1), ([0.1] * 6, False, 0, 1), ([0.1, 0.2, 0.3], False, 0, 0)],
)
def test_failure_is_infinity_or_chance(make, accuracies, has_diverged, is_infinite, has_failed):
    run = make("inception_x5-s0", accuracies, has_diverged)
    assert (accuracy.reached_infinity(run), accuracy.failed_to_train(run)) == (is_infinite, has_failed)
