"""A new study is one file with its claims and one folder of experiments: launcher, report and first table find it by themselves."""

import shutil

import pytest
from made_up_trainings import rising, write_training

from bn_repro.launcher import choice, grids
from bn_repro.measures.accuracy import final_accuracy
from bn_repro.measures.contrasts import difference
from bn_repro.report.headline import headline_rows
from bn_repro.report.page import report_files
from bn_repro.report.report import build_report
from bn_repro.studies import STUDIES
from bn_repro.studies.study import Figure, Study, of_arms
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import REPRODUCED, Above

EXPERIMENT = """# @package _global_
# Does a taller network end higher? ./scripts/reproduce.sh --tier quick --only height
experiment: made_up_height
tier: quick
train: {lr: 1.0, steps: 100, eval_every: 100}
probe: {every: 0}
controls:
  - {norm: none, seed: "range(10,15)"}
hydra:
  mode: MULTIRUN
  sweeper:
    params: {norm: "none,layer", seed: "range(0,5)"}
"""
HEIGHT = Study(
    name="height",
    title="Height",
    sections="9",
    question="Does a taller network end higher?",
    experiments=("made_up_height",),
    claims=(
        Claim(
            id="height-accuracy",
            section="9",
            says="a taller network ends higher",
            paper="higher",
            unit="points",
            reference="made_up_height/none",
            subject="made_up_height/layer",
            control="made_up_height/none",
            measure=difference(final_accuracy),
            rule=Above(0, 1),
            headline="Taller networks: better accuracy",
        ),
    ),
    figures=(
        Figure(
            name="height",
            title="Height of all arms",
            caption="Every arm.",
            alt="A table of arms.",
            draw=of_arms(
                lambda arms: (("arm",), *((label,) for label, _ in arms)),
                [("without BN", "made_up_height/none"), ("with layer norm", "made_up_height/layer")],
            ),
            experiments=("made_up_height",),
        ),
    ),
    in_words=lambda answers: f"It does: {answers['height-accuracy'].verdict}.",
)


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """Add the experiment's folder to a copy of the configs, and the study to the list."""
    configs = tmp_path / "configs"
    shutil.copytree(grids.CONFIGS, configs)
    (configs / "experiment/made_up_height").mkdir()
    (configs / "experiment/made_up_height/quick.yaml").write_text(EXPERIMENT)
    monkeypatch.setattr(grids, "CONFIGS", configs)
    return (*STUDIES, HEIGHT)


def test_the_launcher_finds_its_runs_and_controls(studies):
    assert "made_up_height/quick" in grids.experiments("quick")
    runs = [config.name for config in grids.configs_of("made_up_height/quick")]
    assert runs == [f"{norm}-s{seed}" for norm in ("none", "layer") for seed in range(5)] + [f"none-s{seed}" for seed in range(10, 15)]
    for only in ("height", "made_up_height", "height-accuracy"):
        chosen = choice.choose("quick", only, studies, lambda name: 1.0)
        assert list(chosen.experiments) == ["made_up_height/quick"] and chosen.claims == {"height-accuracy"}


def test_report_and_first_table_have_it(studies, tmp_path):
    for seed in range(5):
        write_training(tmp_path, f"made_up_height/quick/none-s{seed}", rising(0.5 + 0.01 * seed, 3))
        write_training(tmp_path, f"made_up_height/quick/layer-s{seed}", rising(0.6 + 0.011 * seed, 3))
        write_training(tmp_path, f"made_up_height/quick/none-s{seed + 10}", rising(0.5 + 0.01 * (4 - seed), 3))
    report = build_report(tmp_path, "quick", None, studies)
    (answer,) = report.chapters[-1].answers
    assert (answer.verdict, answer.n, answer.control_verdict) == (REPRODUCED, 5, "INCONCLUSIVE")
    assert any(row.says == "Taller networks: better accuracy" and row.verdict == REPRODUCED for row in headline_rows(report))
    text = report_files(report)["REPORT.md"].decode()
    for part in ("## Height", "Does a taller network end higher?", "It does: REPRODUCED.", "Height of all arms", "with layer norm"):
        assert part in text
