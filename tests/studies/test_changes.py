"""Are the seven changes those between the two arms, do the claims say what made-up runs mean, and does the figure draw?"""

import pytest
from composed import composed
from made_up_records import ENVIRONMENT

from bn_repro.config import walk
from bn_repro.figures.style import as_svg
from bn_repro.launcher.grids import configs_of
from bn_repro.records.record import FINISHED, address_of
from bn_repro.records.writing import RunWriter
from bn_repro.studies.changes import BASELINE, BN_X5, CHANGES, EXPERIMENT, SHUFFLING, STUDY, gains, with_added, without
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_RUN, REPRODUCED
from bn_repro.verdicts.selection import runs_with_overrides

SEEDS = range(200, 205)
ARMS = [BASELINE, BN_X5, *map(with_added, CHANGES), *map(without, CHANGES)]


def settings(arm, overrides):
    config = composed(f"experiment={EXPERIMENT}/long", f"arm={arm}", "seed=200", *filter(None, overrides))
    return {name: value for name, value, _ in walk(config) if name not in ("arm", "name")}


def test_seven_changes_lead_from_one_arm_to_the_other_and_back():
    fixed = "data.is_reshuffled=False"
    baseline, bn_x5 = settings("bn_baseline", [fixed]), settings("bn_x5", [])
    assert settings("bn_baseline", [change.added for change in CHANGES]) == bn_x5
    assert settings("bn_x5", [change.taken_back for change in CHANGES]) == baseline
    for change in CHANGES:
        alone = settings("bn_baseline", [change.added, fixed] if change.added else [])
        assert sum(alone[name] != baseline[name] for name in alone) == 1, change
        kept = settings("bn_x5", [change.taken_back])
        assert sum(kept[name] != bn_x5[name] for name in kept) == 1, change


def address(arm, seed):
    experiment, name = arm.split("/")
    arm_name, *overrides = name.split(",")
    return f"{experiment}/long/" + ",".join([f"{arm_name}-s{seed}", *overrides])


def test_the_grid_is_what_the_study_compares():
    of_shuffling = (BASELINE, with_added(SHUFFLING), BN_X5, without(SHUFFLING))
    expected = {address(arm, seed) for arm in ARMS for seed in (range(200, 210) if arm in of_shuffling else SEEDS)}
    assert {address_of(config) for config in configs_of(f"{EXPERIMENT}/long")} == expected


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write runs in which shuffling gains five points alone and one in BN-x5."""
    root = tmp_path_factory.mktemp("runs")
    for arm in ARMS:
        gained = {BASELINE: 0, with_added(SHUFFLING): 0.05, BN_X5: 0.06, without(SHUFFLING): 0.05}.get(arm, 0.03)
        for seed in SEEDS:
            writer = RunWriter(root / address(arm, seed))
            writer.begin({"data": {"name": "cifar10"}, "train": {"steps": 100}}, ENVIRONMENT)
            writer.append({"step": 0, "accuracy": 0.1})
            writer.finish({"status": FINISHED, "accuracy": 0.5 + gained + 0.001 * (seed * 7 % 3), "steps": 100})
            writer.close()
    return root


def test_claims_say_what_the_runs_mean(root):
    assert sorted(runs_with_overrides(root, BASELINE, "long")) == list(SEEDS)
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    assert [answers[f"change-shuffling-{id}"].estimate for id in ("added", "kept")] == pytest.approx([5, 1])
    assert answers["change-shuffling-added"].verdict == REPRODUCED and "gains 5" in STUDY.in_words(answers)
    words, added, kept, runs = gains(root, "long")[0]
    assert words == "5 times the learning rate" and added.value == pytest.approx(3) and kept.value == pytest.approx(3) and len(runs) == 20


def test_nothing_is_said_without_runs(tmp_path):
    answers = {answer.id: answer for answer in judge_all(tmp_path, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {NOT_RUN} and STUDY.in_words(answers) == ""


def test_the_figure_draws(root):
    (figure,) = STUDY.figures
    found = figure.draw(root, "long")
    assert found is not None and len(found.runs) == len(set(ARMS)) * len(SEEDS)
    assert as_svg(found.content, figure.name).startswith(b"<?xml")
    assert figure.draw(root, "quick") is None
