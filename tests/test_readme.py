"""Every command and every line of code in the README works as written."""

import itertools
import re
import shlex
import subprocess
import sys

import pytest

from bn_repro.launcher.command_line import command_lines, refuse_mistakes_of_all
from bn_repro.launcher.grids import CONFIGS

ROOT = CONFIGS.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [line.split(" #")[0].strip() for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines() if line]
TRAININGS = [shlex.split(command)[2:] for command in COMMANDS if "scripts/train.py" in command]
REPRODUCTIONS = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("./scripts/reproduce.sh")]


def call(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_readme_has_no_command_of_another_kind():
    known = ("./scripts/reproduce.sh", "./scripts/test.sh", ".venv/bin/python scripts/train.py", ".venv/bin/python scripts/report.py",
             ".venv/bin/python scripts/export_wandb.py", ".venv/bin/python scripts/dashboard.py", ".venv/bin/wandb")  # fmt: skip
    assert [command for command in COMMANDS if not command.startswith(known)] == []
    assert len(TRAININGS) >= 3 and len(REPRODUCTIONS) >= 3


@pytest.mark.parametrize("arguments", TRAININGS, ids=" ".join)
def test_training_commands_are_without_mistake(arguments):
    refuse_mistakes_of_all(command_lines(arguments))


@pytest.mark.parametrize("arguments", REPRODUCTIONS, ids=" ".join)
def test_reproduction_commands_plan_their_runs(arguments):
    answer = call("scripts/reproduce.py", *arguments, *([] if "--dry-run" in arguments else ["--dry-run"]))
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"^\d+ runs; about [\d?]", answer.stdout, re.M), answer.stdout


def test_a_training_command_its_report_and_its_export(tmp_path):
    small = [
        "data=synthetic",
        "train.steps=4",
        "train.eval_every=2",
        "train.population_batches=2",
        "probe.every=2",
        f"results_folder={tmp_path}",
    ]
    sweep = next(arguments for arguments in TRAININGS if "-m" in arguments)
    answer = call("scripts/train.py", *[a for a in sweep if not a.startswith("data=")], *small, "wandb.mode=disabled")
    assert answer.returncode == 0, answer.stderr
    folders = sorted(path.parent for path in tmp_path.glob("mnist_sigmoid/quick/*/summary.json"))
    assert len(folders) == 4
    answer = call("scripts/export_wandb.py", str(folders[0]), "--folder", str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.parametrize("command", [command for command in COMMANDS if "scripts/report.py" in command])
def test_report_command(command, tmp_path):
    arguments = shlex.split(command)[1:]
    answer = call(*arguments, *(["--folder", str(tmp_path)] if "--wandb" in arguments else []))
    assert answer.returncode == 0, answer.stderr
    assert "report.html" in answer.stdout
    assert ("--wandb" in arguments) == bool(list(tmp_path.glob("wandb/offline-run-*")))


@pytest.mark.parametrize("command", sorted({command.removesuffix(" --push") for command in COMMANDS if "scripts/dashboard.py" in command}))
def test_dashboard_command(command):
    """Without a login; what it would send is tested in tests/dashboard."""
    answer = call(*shlex.split(command)[1:])
    assert answer.returncode == 0 and "Accuracy by arm" in answer.stdout, answer.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith(".venv/bin/wandb")])
def test_wandb_knows_its_commands(command):
    words = itertools.takewhile(str.isalpha, shlex.split(command)[1:])
    assert call("-m", "wandb", *words, "--help").returncode == 0


def test_code_blocks_run():
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
