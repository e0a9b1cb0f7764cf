"""The engine on whole made-up tiers: it says yes, it says no, and the negative control never says yes."""

import dataclasses
import shutil

import pytest
from made_up_records import MadeUp, percentiles_moving, write, write_tier
from made_up_shifts import write_shift_tier
from made_up_trainings import LEARNING_RATES, write_inception_tier

from bn_repro.studies.claims import CLAIMS
from bn_repro.verdicts.judging import judge_all, measured_unpaired, verdict_on
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_RUN, REPRODUCED
from bn_repro.verdicts.selection import runs_of
from bn_repro.verdicts.statistics import mean_estimate

NEEDING_SECTION_2 = {claim.id for claim in CLAIMS if "faulty_norm" in claim.experiments}


def test_records_that_show_the_claims_reproduce_them_and_their_controls_do_not(tmp_path):
    write_tier(tmp_path, "quick")
    write_inception_tier(tmp_path, "quick")
    write_shift_tier(tmp_path, "quick")
    answers = {answer.id: answer for answer in judge_all(tmp_path, "quick", CLAIMS)}
    for id, answer in answers.items():
        if id in NEEDING_SECTION_2:
            assert answer.verdict == NOT_RUN
        elif "-width-" not in id:  # made-up widths stand still in both arms
            assert answer.verdict == REPRODUCED, answer
            assert answer.control_verdict != REPRODUCED, answer
            assert answer.n == 3
            assert len(answer.runs) in (3, 6, 9, 6 * len(LEARNING_RATES))


def test_negative_control_a_bn_arm_without_bn_reproduces_nothing(tmp_path):
    write_tier(tmp_path, "quick", has_bn=False)
    write_inception_tier(tmp_path, "quick", has_bn=False)
    assert [answer for answer in judge_all(tmp_path, "quick", CLAIMS) if answer.verdict == REPRODUCED] == []


def test_a_control_that_has_bn_says_so(tmp_path):
    write_tier(tmp_path, "quick")
    for seed in range(3):  # the control's runs, which must have no BN, are now as those with BN
        bn = MadeUp([0.1, 0.9, 0.965, 0.97, 0.98 + 0.001 * seed], percentiles_moving(1), 3, 1e-5, 1e-7)
        shutil.rmtree(tmp_path / f"mnist_control/quick/plain_common-s{seed + 10}")
        write(tmp_path, f"mnist_control/quick/plain_common-s{seed + 10}", bn)
    answers = {answer.id: answer for answer in judge_all(tmp_path, "quick", CLAIMS)}
    assert answers["fig1-accuracy-common"].control_verdict == REPRODUCED


def test_runs_of_unlike_seeds_are_not_pairs():
    """In their order the controls are all 1 above; met by each other's partners they are above and below."""
    claim = next(claim for claim in CLAIMS if claim.id == "fig1-accuracy-common")
    claim = dataclasses.replace(claim, measure=lambda pairs: mean_estimate([control - reference for reference, control in pairs]))
    references, controls = [0.0, 10.0, 20.0], [1.0, 11.0, 21.1]
    assert claim.rule.verdict(claim.measure(list(zip(references, controls)))) == REPRODUCED
    estimate = measured_unpaired(claim, references, controls)
    assert verdict_on(claim, estimate) == INCONCLUSIVE and estimate.mean == pytest.approx(3.1 / 3)
    assert verdict_on(claim, measured_unpaired(claim, references, [101.0, 111.0, 121.0])) == REPRODUCED
    assert verdict_on(claim, measured_unpaired(claim, [], controls)) == NOT_RUN


def test_no_records_no_verdict(tmp_path):
    assert {answer.verdict for answer in judge_all(tmp_path, "quick", CLAIMS)} == {NOT_RUN}


def test_tiers_and_ablations_are_kept_apart(tmp_path):
    write_tier(tmp_path, "long")
    run = MadeUp([0.1, 0.9], percentiles_moving(1, 2))
    write(tmp_path, "mnist_sigmoid/quick/batch-s0,train.lr=0.7", run)
    write(tmp_path, "mnist_sigmoid/quick/batch-s4", run)
    assert list(runs_of(tmp_path, "mnist_sigmoid/batch", "quick")) == [4]


def test_seeds_are_paired(tmp_path):
    write_tier(tmp_path, "quick")
    write(tmp_path, "mnist_sigmoid/quick/batch-s9", MadeUp([0.1, 0.2], percentiles_moving(9, 2)))
    answers = {answer.id: answer for answer in judge_all(tmp_path, "quick", CLAIMS)}
    assert answers["fig1-accuracy-common"].n == 3


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_whole(claim):
    assert claim.statement and claim.paper and claim.unit and claim.section
    assert str(claim.rule)
    assert [other.id for other in CLAIMS].count(claim.id) == 1
