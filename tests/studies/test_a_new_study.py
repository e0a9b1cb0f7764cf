"""A new study is one file with its claims, its line in the list and one folder of experiments: all else finds it by itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_trainings import rising, write_training

PLACE = Path(__file__).parents[2]
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
STUDY = '''"""Does a taller network end higher? (section 9)"""

from bn_repro.measures.accuracy import final_accuracy
from bn_repro.measures.contrasts import difference
from bn_repro.studies.study import Figure, Study, of_arms
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import Above

NONE, LAYER = "made_up_height/none", "made_up_height/layer"
STUDY = Study(
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
            reference=NONE,
            subject=LAYER,
            control=NONE,
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
                lambda arms: (("arm",), *((label,) for label, _ in arms)), [("without BN", NONE), ("with layer norm", LAYER)]
            ),
            experiments=("made_up_height",),
        ),
    ),
    in_words=lambda answers: f"It does: {answers['height-accuracy'].verdict}.",
)
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Copy the code and add what a newcomer would write: a file, its name twice in the list, a folder."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("bn_repro", "configs", "scripts"):
        shutil.copytree(PLACE / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "results").mkdir()
    shutil.copy(PLACE / "results/rules.json", copy / "results")
    (copy / "bn_repro/studies/height.py").write_text(STUDY)
    listed = copy / "bn_repro/studies/__init__.py"
    listed.write_text(
        listed.read_text()
        .replace("    identities,\n", "    height,\n    identities,\n")
        .replace("  tuning.STUDY,\n", "  tuning.STUDY,\n    height.STUDY,\n")
    )
    (copy / "configs/experiment/made_up_height").mkdir()
    (copy / "configs/experiment/made_up_height/quick.yaml").write_text(EXPERIMENT)
    return copy


def printed(copy: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(copy), "COLUMNS": "120"}
    command = [sys.executable, "-B", f"scripts/{arguments[0]}.py", *arguments[1:]]
    ended = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("only", ["height", "made_up_height"])
def test_the_launcher_finds_its_runs_and_controls(copy, only):
    *runs, total = printed(copy, "reproduce", "--tier", "quick", "--only", only, "--dry-run").splitlines()
    names = [f"{norm}-s{seed}" for norm in ("none", "layer") for seed in range(5)] + [f"none-s{seed}" for seed in range(10, 15)]
    assert [line.split()[-1] for line in runs] == [f"made_up_height/quick/{name}" for name in names]
    assert total.startswith("15 runs")


def test_report_and_first_table_have_it(copy):
    root = copy / "results/runs"
    for seed in range(5):
        write_training(root, f"made_up_height/quick/none-s{seed}", rising(0.5 + 0.01 * seed, 3))
        write_training(root, f"made_up_height/quick/layer-s{seed}", rising(0.6 + 0.011 * seed, 3))
        write_training(root, f"made_up_height/quick/none-s{seed + 10}", rising(0.5 + 0.01 * (4 - seed), 3))
    table = printed(copy, "report", "--tier", "quick")
    row = next(line for line in table.splitlines() if "Taller networks: better accuracy" in line)
    assert "REPRODUCED" in row and "n = 5" in row
    page = (copy / "results/report/quick/REPORT.md").read_text()
    for part in ("## Height", "Does a taller network end higher?", "It does: REPRODUCED.", "Height of all arms", "with layer norm"):
        assert part in page
