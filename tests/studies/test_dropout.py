"""Do the claims of dropout say what made-up runs mean, and does their figure draw?"""

import pytest
from made_up_records import ENVIRONMENT

from bn_repro.figures.style import as_svg
from bn_repro.launcher.grids import configs_of
from bn_repro.records.record import DIVERGED, FINISHED
from bn_repro.records.writing import RunWriter
from bn_repro.studies.dropout import NETWORKS, STUDY, TRIAL_NAME, at_best, gap, training_accuracy, trials_of
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_RUN, REPRODUCED

SEEDS, CONTROLS = range(200, 205), range(210, 215)
DROP_RATES, RATES = (0, 0.1, 0.4), (0.3, 1)


def write_run(root, address, accuracy, training_accuracy):
    writer = RunWriter(root / address)
    writer.begin({"data": {"name": "mnist", "evaluate_training": 10_000}, "train": {"steps": 100}}, ENVIRONMENT)
    writer.append({"step": 0, "accuracy": 0.1})
    learnt = {"status": DIVERGED} if training_accuracy is None else {"status": FINISHED, "training_accuracy": training_accuracy}
    writer.finish({**learnt, "accuracy": accuracy, "steps": 100})
    writer.close()


def accuracy_of(norm, drop_rate, lr):
    """Without BN dropout of 0.1 gains two points at rate 1; with BN it costs one; rate 0.3 is always worse."""
    if norm == "batch":
        return 0.97 - 0.01 * (drop_rate > 0) - 0.02 * (lr < 1)
    return {0: 0.94, 0.1: 0.96, 0.4: 0.9}[drop_rate] - 0.02 * (lr < 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for experiment in STUDY.experiments:
        for norm, seeds in (("none", SEEDS), ("batch", SEEDS), ("none", CONTROLS)):
            for seed in seeds:
                for drop_rate in DROP_RATES if seeds is SEEDS else (0,):
                    for lr in RATES:
                        wobble = 0.001 * (seed * (7 if seeds is SEEDS else 5) % 3)
                        accuracy = accuracy_of(norm, drop_rate, lr) + wobble
                        learnt = 1.0 if drop_rate == 0 else accuracy
                        address = f"{experiment}/long/{norm}-s{seed},network.drop_rate={drop_rate:g},train.lr={lr:g}"
                        write_run(root, address, accuracy, learnt)
    return root


def test_trials_are_told_apart_by_dropout(root):
    assert sorted(trials_of(None, root, "dropout/none", "long")) == [*SEEDS]
    assert sorted(trials_of(False, root, "dropout/none", "long")) == [*SEEDS, *CONTROLS]
    trials = list(trials_of(None, root, "dropout/none", "long").values())
    assert {run.name.split(",", 1)[1] for run in at_best(trials, True)} == {"network.drop_rate=0.1,train.lr=1"}
    assert {run.name.split(",", 1)[1] for run in at_best(trials, False)} == {"network.drop_rate=0,train.lr=1"}
    assert gap(at_best(trials, False)[0]) == pytest.approx(100 * (1 - 0.94 - 0.001 * (200 * 7 % 3)))


def test_claims_say_what_the_runs_mean(root):
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {REPRODUCED}
    expected = {"bn": -1, "none": 2, "instead": -1, "gap": 3}
    for name, estimate in expected.items():
        assert answers[f"dropout-{name}-mlp"].estimate == pytest.approx(estimate, abs=0.15), name
    assert all(answer.control_verdict != REPRODUCED for answer in answers.values())
    said = STUDY.in_words(answers)
    assert "-1" in said and "sigmoid network" in said and "small Inception" in said


def test_a_run_that_diverged_is_at_chance(tmp_path):
    for norm in ("none", "batch"):
        for seed in SEEDS:
            for drop_rate in DROP_RATES:
                for lr in RATES:
                    learnt = None if (norm, lr) == ("none", 1) else 0.99
                    write_run(tmp_path, f"dropout/long/{norm}-s{seed},network.drop_rate={drop_rate:g},train.lr={lr:g}", 0.95, learnt)
    answers = {answer.id: answer for answer in judge_all(tmp_path, "long", STUDY.claims)}
    assert answers["dropout-gap-mlp"].estimate == pytest.approx(0) and STUDY.figures[0].draw(tmp_path, "long") is not None
    trials = list(trials_of(None, tmp_path, "dropout/none", "long").values())
    assert training_accuracy(trials[0][0, 1]) == 10


def test_the_grids_are_what_the_study_reads():
    for _, experiment in NETWORKS:
        names = [config.name for config in configs_of(f"{experiment}/long")]
        assert names and all(TRIAL_NAME.fullmatch(name) for name in names)
        assert {float(TRIAL_NAME.fullmatch(name)["drop_rate"]) for name in names} >= {0, 0.4}


def test_nothing_is_said_without_runs(tmp_path):
    answers = {answer.id: answer for answer in judge_all(tmp_path, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {NOT_RUN} and STUDY.in_words(answers) == ""


def test_the_figure_draws(root):
    (figure,) = STUDY.figures
    found = figure.draw(root, "long")
    assert found is not None and len(found.runs) == 2 * 2 * 5 * 6
    assert as_svg(found.content, figure.name).startswith(b"<?xml")
    assert figure.draw(root, "quick") is None
