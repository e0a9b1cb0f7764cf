"""The exact statements' measures on made-up summaries."""

import numpy as np
import pytest
from made_up_records import MadeUp, percentiles_moving, write

from bn_repro.records.record import Run
from bn_repro.studies import identities


@pytest.fixture
def make(tmp_path):
    def make(name: str, **numbers) -> Run:
        numbers = {"accuracies": [0.1, 0.5, 0.9], "percentiles": percentiles_moving(3, rows=3), **numbers}
        write(tmp_path, f"mnist_sigmoid/quick/{name}", MadeUp(**numbers))
        return Run(tmp_path / f"mnist_sigmoid/quick/{name}")

    return make


def test_what_was_not_folded_whole_is_infinitely_wrong(make):
    assert identities.folding_error(make("batch-s0", num_batch_norms=3, folding_error=1e-7)) == 1e-7
    partly = make("batch-s1", num_batch_norms=3)
    partly.summary["num_folded"] = 2
    assert identities.folding_error(partly) == np.inf


def test_tracking_is_in_percentage_points(make):
    run = make("batch-s0", num_batch_norms=3)
    run.summary["accuracy_moving_averages"] = run.summary["accuracy"] - 0.01
    assert identities.tracking_error(run) == pytest.approx(1)


def test_an_identity_that_was_not_measured_is_infinitely_wrong(make):
    run = make("batch-s0", scale_error=1e-5)
    assert identities.scale_error("output")(run) == 1e-5
    run.summary["scale_invariance"] = {}
    assert identities.scale_error("output")(run) == np.inf
