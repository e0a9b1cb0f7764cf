"""Measures against records whose answer is worked by hand."""

import numpy as np
import pytest
from made_up_records import MadeUp, percentiles_moving, write

from bn_repro.measures import measures
from bn_repro.records.record import Run


@pytest.fixture
def make(tmp_path):
    def make(name: str, **numbers) -> Run:
        numbers = {"accuracies": [0.1, 0.5, 0.9], "percentiles": percentiles_moving(3, rows=3), **numbers}
        write(tmp_path, f"mnist_sigmoid/quick/{name}", MadeUp(**numbers))
        return Run(tmp_path / f"mnist_sigmoid/quick/{name}")

    return make


def test_steps_to_is_the_first_row_that_reaches_the_accuracy(make):
    run = make("none-s0", accuracies=[0.1, 0.6, 0.5], percentiles=percentiles_moving(1, 3))
    assert measures.steps_to(run, 0.5) == 100
    assert measures.steps_to(run, 0.7) is None


def test_speedup_by_hand(make):
    reference = make("none-s0", accuracies=[0.1, 0.5, 0.6, 0.8, 0.9], percentiles=percentiles_moving(1, 5))
    subject = make("batch-s0", accuracies=[0.1, 0.9, 0.9, 0.95, 0.97], percentiles=percentiles_moving(1, 5))
    assert measures.speedup([(reference, subject)]).mean == pytest.approx(400 / 100)


def test_a_subject_that_never_arrives_is_an_upper_bound(make):
    reference = make("none-s0", accuracies=[0.1, 0.9, 0.9], percentiles=percentiles_moving(1, 3))
    subject = make("batch-s0")
    never = make("batch-s1", accuracies=[0.1, 0.2, 0.3])
    estimate = measures.speedup([(reference, subject), (reference, never)])
    assert estimate.mean == pytest.approx((0.5 * 0.5) ** 0.5)
    assert estimate.low == 0


def test_the_target_is_the_mean_over_seeds_so_that_equal_arms_have_ratio_one(make):
    """A seed's own last accuracy as its target would favour whichever arm is not the reference."""
    runs = [
        make("none-s0", accuracies=[0.1, 0.5, 0.6, 0.7, 0.90], percentiles=percentiles_moving(1, 5)),
        make("none-s1", accuracies=[0.1, 0.8, 0.85, 0.87, 0.86], percentiles=percentiles_moving(1, 5)),
        make("none-s2", accuracies=[0.1, 0.5, 0.6, 0.89, 0.88], percentiles=percentiles_moving(1, 5)),
    ]
    assert measures.speedup(list(zip(runs, runs[1:] + runs[:1]))).mean == pytest.approx(1)


def test_paths_are_in_units_of_the_final_width(make):
    run = make("none-s0", percentiles=percentiles_moving(3, rows=3))  # width 2
    assert measures.median_path(run) == pytest.approx(1.5)
    assert measures.width_path(run) == pytest.approx(0)
    widening = percentiles_moving(0, rows=3) * np.array([1, 3, 2])[:, None, None]  # widths 2, 6, 4
    assert measures.width_path(make("none-s1", percentiles=widening)) == pytest.approx((4 + 2) / 4)


def test_distance_to_final_by_hand(make):
    percentiles = percentiles_moving(0, rows=3)
    percentiles[0] += 4  # exactly ten bins of 0.4
    run = make("none-s0", percentiles=percentiles)
    assert measures.distance_to_final(run) == pytest.approx((4 + 0) / 2 / 2)


def test_bias_growth_tells_steady_growth_from_none(make):
    accuracies, percentiles = [0.1] * 5, percentiles_moving(1, 5)
    growing = make("a-s0", accuracies=accuracies, percentiles=percentiles, bias_norms=(0, 1, 2, 3, 4), losses=(2.0, 2.0, 2.1, 2.0, 1.9))
    still = make("a-s1", accuracies=accuracies, percentiles=percentiles, bias_norms=(0, 0, 0, 0, 0))
    assert measures.bias_growth(growing) == 2
    assert measures.bias_growth(still) == 1
    rounding = make("a-s2", accuracies=accuracies, percentiles=percentiles, bias_norms=(0, 1e-8, 2e-8, 3e-8, 4e-8))
    assert measures.bias_growth(rounding) == 1
    assert measures.loss_change(growing) == pytest.approx(0.05)


def test_exactness_counts_for_nothing_without_batch_norm(make):
    assert measures.folding_error(make("none-s0")) == np.inf
    assert measures.tracking_error(make("none-s1")) == np.inf
    assert measures.folding_error(make("batch-s0", num_batch_norms=3, folding_error=1e-7)) == 1e-7
