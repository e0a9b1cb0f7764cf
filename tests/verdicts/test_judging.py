"""The engine on whole made-up tiers: it says yes, it says no, and the negative control says what it should."""

import pytest
from made_up_records import MadeUp, percentiles_moving, write, write_tier
from made_up_shifts import write_shift_tier
from made_up_trainings import LEARNING_RATES, write_inception_tier

from bn_repro.measures.contrasts import difference
from bn_repro.studies import CLAIMS
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.judging import controls_reproduced, false_expected, judge, judge_all, selections
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_RUN, PARTLY, REPRODUCED, Above
from bn_repro.verdicts.selection import runs_of

MADE_UP = {"mnist_sigmoid", "mnist_best", "inception", "lr_sweep", "lr_sweep_inception", "covariate_shift", "covariate_shift_inception"}
NOT_MADE_UP = {claim.id for claim in CLAIMS if claim.experiments - MADE_UP}
# Made-up widths stand still, no run fits its data, none says which images are right.
NOT_SHOWN = ("-width-", "fitted", "fig2-steps-bn_baseline", "fig2-steps-bn_x5", "noise-bn")


def accuracy(run):
    return 100 * run.summary["accuracy"]


HIGHER = Claim(
    id="made-up", section="4.1", says="higher", paper="higher", unit="points", measure=difference(accuracy), rule=Above(0, 1),
    reference="mnist_sigmoid/none", subject="mnist_sigmoid/batch", control="mnist_sigmoid/none",
)  # fmt: skip


def test_records_that_show_the_claims_reproduce_them_and_their_controls_do_not(tmp_path):
    write_tier(tmp_path, "long")
    write_inception_tier(tmp_path, "long")
    write_shift_tier(tmp_path, "long")
    for answer in judge_all(tmp_path, "long", CLAIMS):
        if answer.id in NOT_MADE_UP:
            assert answer.verdict == NOT_RUN
        elif not any(part in answer.id for part in NOT_SHOWN):
            assert answer.verdict in (REPRODUCED, PARTLY), answer
            assert answer.control_verdict != REPRODUCED, answer
            assert answer.n == 6 and answer.q >= answer.p
            assert len(answer.runs) in (6, 12, 12 * len(LEARNING_RATES))


def test_negative_control_a_bn_arm_without_bn_reproduces_nothing(tmp_path):
    write_tier(tmp_path, "long", has_bn=False)
    write_inception_tier(tmp_path, "long", has_bn=False)
    found = [answer for answer in judge_all(tmp_path, "long", CLAIMS) if answer.verdict == REPRODUCED]
    about_relu = ["fig3-best-bn_x5_sigmoid"]
    assert [answer.id for answer in found if answer.section in ("4.1", "4.2", "4.2.1")] == about_relu


def made_up(*accuracies_by_arm):
    return [{seed: MadeUp([0.1, accuracy], percentiles_moving(1, 2)) for seed, accuracy in arm.items()} for arm in accuracies_by_arm]


def write_arms(root, none, batch):
    for norm, runs in (("none", none), ("batch", batch)):
        for seed, run in runs.items():
            write(root, f"mnist_sigmoid/quick/{norm}-s{seed}", run)


def test_the_control_takes_the_seeds_that_are_in_no_pair_in_their_order(tmp_path):
    """Seeds 0 to 4 are pairs, of +2 points; 10 to 14 without BN stand for BN, of +5: that control says what it is made of."""
    plain = {seed: 0.90 + 0.001 * seed for seed in range(5)}
    control = {seed + 10: of_seed + 0.05 for seed, of_seed in plain.items()}
    write_arms(tmp_path, *made_up(plain | control, {seed: of_seed + 0.02 for seed, of_seed in plain.items()}))
    answer = judge(HIGHER, selections(tmp_path, "quick"), "quick")
    assert (answer.n, answer.verdict, answer.control_verdict) == (5, REPRODUCED, REPRODUCED)
    assert answer.estimate == pytest.approx(2)


def test_a_control_of_another_arm_may_have_the_same_seeds(tmp_path):
    plain = {seed: 0.90 + 0.001 * seed for seed in range(5)}
    write_arms(tmp_path, *made_up(plain, {s: a + 0.02 for s, a in plain.items()}))
    for seed, of_seed in plain.items():
        write(tmp_path, f"mnist_sigmoid/quick/layer-s{seed}", MadeUp([0.1, of_seed - 0.01], percentiles_moving(1, 2)))
    claim = Claim(**{**vars(HIGHER), "control": "mnist_sigmoid/layer"})
    assert judge(claim, selections(tmp_path, "quick"), "quick").control_verdict == "NOT REPRODUCED"
    assert judge(Claim(**{**vars(HIGHER), "control": None}), selections(tmp_path, "quick"), "quick").control_verdict is None


def test_a_pilot_says_how_many_seeds_would_decide(tmp_path):
    plain = {seed: 0.90 + 0.001 * seed for seed in range(3)}
    write_arms(tmp_path, *made_up(plain, {s: a + 0.02 + 0.001 * s for s, a in plain.items()}))
    answer = judge(HIGHER, selections(tmp_path, "quick"), "quick")
    assert (answer.n, answer.verdict, answer.seeds_needed, answer.control_verdict) == (3, INCONCLUSIVE, 5, NOT_RUN)


def test_a_measure_without_an_answer_is_not_run(tmp_path):
    write_tier(tmp_path, "quick")
    answer = judge(Claim(**{**vars(HIGHER), "measure": lambda pairs: None}), selections(tmp_path, "quick"), "quick")
    assert (answer.verdict, answer.control_verdict, answer.p) == (NOT_RUN, NOT_RUN, None)


def test_false_discoveries_and_controls_are_counted(tmp_path):
    write_tier(tmp_path, "quick")
    answers = judge_all(tmp_path, "quick", CLAIMS)
    found = [answer for answer in answers if answer.verdict == REPRODUCED]
    assert 0 < false_expected(answers) == pytest.approx(len(found) * max(answer.q for answer in found))
    reproduced, of, by_chance = controls_reproduced(answers)
    assert reproduced == 0 and of == sum(answer.control_verdict not in (None, NOT_RUN) for answer in answers)
    assert by_chance == pytest.approx(0.025 * of)


def test_numbers_are_written_with_the_digits_that_they_mean(tmp_path):
    write_tier(tmp_path, "quick")
    row = judge(HIGHER, selections(tmp_path, "quick"), "quick").as_dict()
    assert len(repr(row["estimate"]).replace(".", "").lstrip("0")) <= 10


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
    assert answers["fig1-accuracy-common"].n == 6


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_whole(claim):
    assert claim.says and claim.paper and claim.unit and claim.section
    assert str(claim.rule)
    assert [other.id for other in CLAIMS].count(claim.id) == 1
