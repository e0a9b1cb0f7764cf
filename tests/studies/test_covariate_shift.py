"""Each measure of covariate shift on records worked by hand, and what the claims say where BN's arms have no BN."""

import numpy as np
import pytest
from made_up_shifts import Shift, write_shift, write_shift_tier

from bn_repro.records.record import Run
from bn_repro.studies import shift
from bn_repro.studies.covariate_shift import COVARIATE_SHIFT
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import REPRODUCED
from bn_repro.verdicts.selection import runs_of_arms


@pytest.fixture
def run(tmp_path):
    def make(**changes):
        address = f"covariate_shift/quick/none-s{len(list(tmp_path.glob('*/*/*')))}"
        write_shift(tmp_path, address, Shift(**{"drift": 1.0, "amount": 0.5, "loss": 0.5, "accuracy": 0.9} | changes))
        return Run(tmp_path / address)

    return make


def test_measures_by_hand(run):
    made = run()
    assert shift.median_shift("shift")(made) == pytest.approx(0.75)  # of depths 1 and 2; the first has none by definition
    assert shift.median_shift("cosine")(made) == pytest.approx(1 - 1.5 * 0.5 / 5)
    assert shift.loss_range(made) == pytest.approx(1.0)
    assert shift.median_along_gradient("beta_smoothness")(made) == pytest.approx(4.5)
    assert shift.median_spectrum("distance_from_one")(made) == pytest.approx(0.25)
    assert shift.unevenness("affine")(made) == pytest.approx(0.25)  # ln is 0 and 0.5
    assert shift.unevenness("affine_gradient")(made) == pytest.approx(0.75)
    assert shift.mean_training_loss(made) == pytest.approx(0.5)
    width = np.percentile(np.linspace(-2, 2, 500), 85) * 2
    assert shift.median_drift("median_path")(made) == pytest.approx(4 / width)


def test_the_middle_moves_with_the_gain_of_bn(run):
    plain, bn, subject = run(accuracy=0.9, loss=1.0), run(accuracy=0.94, loss=0.4), run(accuracy=0.93, loss=0.8)
    pairs = [((plain, bn), (subject,))] * 2
    assert shift.accuracy_above_middle(pairs).mean == pytest.approx(1.0)  # 93 - (90 + 94) / 2 points
    assert shift.loss_below_middle(pairs).mean == pytest.approx(-0.1)  # (1.0 + 0.4) / 2 - 0.8 nats
    assert np.isfinite(shift.accuracy_above_middle(pairs).low)


def test_where_bn_gains_nothing_there_is_nothing_to_keep(run):
    plain, bn, subject = run(accuracy=0.94), run(accuracy=0.9), run(accuracy=0.99)
    estimate = shift.accuracy_above_middle([((plain, bn), (subject,))] * 3)
    assert estimate.mean == pytest.approx(7.0) and (estimate.low, estimate.high) == (-np.inf, np.inf)


def test_arms_are_taken_together_by_the_seeds_of_all(tmp_path):
    for name in ("none-s0", "none-s1", "batch-s1", "batch-s2"):
        write_shift(tmp_path, f"covariate_shift/quick/{name}", Shift(1.0, 0.5, 0.5, 0.9))
    found = runs_of_arms(tmp_path, "covariate_shift/none+batch", "quick")
    assert {seed: [run.folder.name for run in runs] for seed, runs in found.items()} == {1: ["none-s1", "batch-s1"]}


def test_arms_without_bn_reproduce_nothing(tmp_path):
    write_shift_tier(tmp_path, "quick", has_bn=False)
    assert [answer.id for answer in judge_all(tmp_path, "quick", COVARIATE_SHIFT) if answer.verdict == REPRODUCED] == []


def test_an_answer_names_all_its_runs(tmp_path):
    write_shift_tier(tmp_path, "quick", num_seeds=1)
    (answer,) = judge_all(tmp_path, "quick", [claim for claim in COVARIATE_SHIFT if claim.id == "ics-kept-loss-mlp"])
    assert answer.runs == [f"covariate_shift/quick/{name}-s0" for name in ("batch", "noisy_batch", "none")]
