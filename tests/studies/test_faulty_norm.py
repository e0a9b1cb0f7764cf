"""Section 2's measures against records whose answer is worked by hand."""

import pytest
from made_up_records import MadeUp, percentiles_moving, write

from bn_repro.records.record import Run
from bn_repro.studies import faulty_norm


@pytest.fixture
def make(tmp_path):
    def make(name: str, **numbers) -> Run:
        numbers = {"accuracies": [0.1, 0.5, 0.9], "percentiles": percentiles_moving(3, rows=3), **numbers}
        write(tmp_path, f"faulty_norm/quick/{name}", MadeUp(**numbers))
        return Run(tmp_path / f"faulty_norm/quick/{name}")

    return make


def test_bias_growth_tells_steady_growth_from_none(make):
    accuracies, percentiles = [0.1] * 5, percentiles_moving(1, 5)
    growing = make("a-s0", accuracies=accuracies, percentiles=percentiles, bias_norms=(0, 1, 2, 3, 4), losses=(2.0, 2.0, 2.1, 2.0, 1.9))
    still = make("a-s1", accuracies=accuracies, percentiles=percentiles, bias_norms=(0, 0, 0, 0, 0))
    assert faulty_norm.bias_growth(growing) == 2
    assert faulty_norm.bias_growth(still) == 1
    rounding = make("a-s2", accuracies=accuracies, percentiles=percentiles, bias_norms=(0, 1e-8, 2e-8, 3e-8, 4e-8))
    assert faulty_norm.bias_growth(rounding) == 1
    assert faulty_norm.loss_change(growing) == pytest.approx(0.05)
