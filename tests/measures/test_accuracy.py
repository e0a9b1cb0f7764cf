"""How far and how fast a run trains, against accuracies whose answer is worked by hand."""

import pytest
from made_up_trainings import rising, write_training

from bn_repro.measures import accuracy
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


def test_the_target_is_what_every_reference_reached(make):
    references = [make("inception-s0", rising(0.5, 1)), make("inception-s1", rising(0.6, 1))]
    assert accuracy.target_of(references) == pytest.approx(50)


def test_speedup_by_hand(make):
    reference = make("inception-s0", [0.1, 0.1, 0.1, 0.1, 0.1, 0.6])  # smoothed best 0.2, at step 500
    subject = make("bn_x5-s0", [0.1, 0.3, 0.3])  # smoothed 0.2 at step 100
    assert accuracy.speedup_to_best([(reference, subject)]).mean == pytest.approx(5)


def test_a_diverged_subject_counts_with_all_the_steps_it_was_given(make):
    reference = make("inception-s0", rising(0.5, 1))
    estimate = accuracy.speedup_to_best([(reference, make("bn_x5-s0", [0.1, 0.1], has_diverged=True))] * 2)
    assert estimate.mean == pytest.approx(accuracy.steps_to_reach(reference, 50 - 1e-9) / 6000)
    assert estimate.low == 0


def test_a_share_stays_between_0_and_1(make):
    runs = [make("inception_x5-s0", [0.1, 0.1]), make("inception_x5-s1", [0.1, 0.5]), make("inception_x5-s2", [0.1, 0.6])]
    estimate = accuracy.share_of_seeds(accuracy.failed_to_train)([(run, run) for run in runs])
    assert (estimate.mean, estimate.low, estimate.high, estimate.n) == (pytest.approx(1 / 3), 0, 1, 3)


@pytest.mark.parametrize(
    ("accuracies", "has_diverged", "is_infinite", "has_failed"),
    [([0.1, 0.1], True, 1, 1), ([0.1] * 6, False, 0, 1), ([0.1, 0.2, 0.3], False, 0, 0)],
)
def test_failure_is_infinity_or_chance(make, accuracies, has_diverged, is_infinite, has_failed):
    run = make("inception_x5-s0", accuracies, has_diverged)
    assert (accuracy.reached_infinity(run), accuracy.failed_to_train(run)) == (is_infinite, has_failed)
