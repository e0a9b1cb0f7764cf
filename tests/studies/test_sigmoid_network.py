"""Figure 1's measures against records whose answer is worked by hand."""

import numpy as np
import pytest
from made_up_records import MadeUp, percentiles_moving, write

from bn_repro.records.record import Run
from bn_repro.studies import sigmoid_network


@pytest.fixture
def make(tmp_path):
    def make(name: str, **numbers) -> Run:
        numbers = {"accuracies": [0.1, 0.5, 0.9], "percentiles": percentiles_moving(3, rows=3), **numbers}
        write(tmp_path, f"mnist_sigmoid/quick/{name}", MadeUp(**numbers))
        return Run(tmp_path / f"mnist_sigmoid/quick/{name}")

    return make


def test_paths_are_in_units_of_the_final_width(make):
    run = make("none-s0", percentiles=percentiles_moving(3, rows=3))  # width 2
    assert sigmoid_network.median_path(run) == pytest.approx(1.5)
    assert sigmoid_network.width_path(run) == pytest.approx(0)
    widening = percentiles_moving(0, rows=3) * np.array([1, 3, 2])[:, None, None]  # widths 2, 6, 4
    assert sigmoid_network.width_path(make("none-s1", percentiles=widening)) == pytest.approx((4 + 2) / 4)


def test_distance_to_final_by_hand(make):
    percentiles = percentiles_moving(0, rows=3)
    percentiles[0] += 4  # exactly ten bins of 0.4
    run = make("none-s0", percentiles=percentiles)
    assert sigmoid_network.distance_to_final(run) == pytest.approx((4 + 0) / 2 / 2)
