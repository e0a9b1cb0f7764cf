"""Each measure of covariate shift on records worked by hand, and what the claims say where BN's arms have no BN."""

import numpy as np
import pytest
from made_up_shifts import Shift, write_shift, write_shift_tier

from bn_repro.measures.contrasts import reduction
from bn_repro.records.record import Run
from bn_repro.studies.covariate_shift import COVARIATE_SHIFT, measures
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
    assert measures.median_shift("shift")(made, "fitting") == pytest.approx(0.75)  # of depths 1 and 2; the first has none by definition
    assert measures.median_shift("cosine")(made, "fitting") == pytest.approx(1 - 1.5 * 0.5 / 5)
    assert measures.loss_range(made, "fitting") == pytest.approx(1.0)
    assert measures.median_along_gradient("beta_smoothness")(made, "fitting") == pytest.approx(4.5)
    assert measures.median_spectrum("distance_from_one")(made) == pytest.approx(0.25)
    assert measures.unevenness("affine")(made) == pytest.approx(0.25)  # ln is 0 and 0.5
    assert measures.unevenness("affine_gradient")(made) == pytest.approx(0.75)
    assert measures.mean_training_loss(made) == pytest.approx(0.5)
    width = np.percentile(np.linspace(-2, 2, 500), 85) * 2
    assert measures.median_drift("median_path")(made) == pytest.approx(4 / width)


def test_a_run_has_fitted_from_its_first_row_below_the_loss(run):
    made = run()
    for row, loss in zip(made.metrics, (None, 0.4, 0.04, 0.06, 0.03)):
        row["train_loss"] = loss
    assert measures.has_fitted(made, np.array([0, 100, 200, 300])).tolist() == [False, False, True, True]


def test_phases_are_kept_apart_and_too_few_rows_of_one_are_no_answer(run):
    made, values = run(), np.array([1.0, 2, 3, 10, 20, 30])
    for row, loss in zip(made.metrics, (None, 0.4, 0.3, 0.04, 0.03)):
        row["train_loss"] = loss
    steps = np.array([0, 100, 200, 300, 350, 400])
    assert measures.median_of_phase(made, "fitting", steps, values) == 2
    assert measures.median_of_phase(made, "fitted", steps, values) == 20
    assert measures.median_of_phase(made, "fitted", steps[:4], values[:4]) is None
    assert measures.in_phase("fitted", measures.loss_range, reduction)([(run(), run())]) is None
    sample = measures.in_phase("fitting", measures.loss_range, reduction)([(run(amount=0.5), run(amount=0.25))])
    assert sample.value == pytest.approx(2)


def test_arms_are_taken_together_by_the_seeds_of_all(tmp_path):
    for name in ("none-s0", "none-s1", "batch-s1", "batch-s2"):
        write_shift(tmp_path, f"covariate_shift/quick/{name}", Shift(1.0, 0.5, 0.5, 0.9))
    found = runs_of_arms(tmp_path, "covariate_shift/none+batch", "quick")
    assert {seed: [run.folder.name for run in runs] for seed, runs in found.items()} == {1: ["none-s1", "batch-s1"]}


def test_arms_without_bn_reproduce_nothing(tmp_path):
    write_shift_tier(tmp_path, "quick", has_bn=False)
    found = {answer.id for answer in judge_all(tmp_path, "quick", COVARIATE_SHIFT) if answer.verdict == REPRODUCED}
    assert {id for id in found if "noise-loss" not in id and "noise-bn" not in id} == set()  # equal arms train as fast as each other


def test_an_answer_names_all_its_runs(tmp_path):
    write_shift_tier(tmp_path, "quick", num_seeds=1)
    (answer,) = judge_all(tmp_path, "quick", [claim for claim in COVARIATE_SHIFT if claim.id == "ics-noise-loss-mlp"])
    assert answer.runs == [f"covariate_shift/quick/{name}-s0" for name in ("batch", "noisy_batch")]
