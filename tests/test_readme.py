"""Is the README short, does every link arrive, and do every command and every line of code in it work as written?"""

import dataclasses
import importlib.util
import itertools
import re
import shlex
import subprocess
import sys

import pytest
from made_up_records import write_tier

from bn_repro.comparison import command as comparison
from bn_repro.launcher import grids, reproduce, reproduce_line
from bn_repro.launcher.command_line import refuse_mistakes
from bn_repro.launcher.grids import CONFIGS
from bn_repro.report.first_page import END, FINDINGS, START, TABLE, between, with_results
from bn_repro.report.headline import headline_rows

ROOT = CONFIGS.parent
README = (ROOT / "README.md").read_text()
PROTOCOL = ROOT / "results" / "PROTOCOL.md"
MOST_LINES, FIRST_COMMAND_BY = 150, 40
COMMANDS = [line.split(" #")[0].strip() for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines() if line]
KNOWN = ("./scripts/reproduce.sh", "./scripts/test.sh", ".venv/bin/wandb", ".venv/bin/python scripts/")
PYTHON = ".venv/bin/python"


def commands(script: str) -> list[list[str]]:
    """Return the arguments of every command that starts a script."""
    return [shlex.split(line.removeprefix(PYTHON))[1:] for line in COMMANDS if f"scripts/{script}" in line]


def call(*arguments: str, folder=ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def loaded(script: str):
    specification = importlib.util.spec_from_file_location(script, ROOT / "scripts" / f"{script}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_readme_is_short_and_its_first_command_near_the_top():
    lines = README.splitlines()
    assert len(lines) <= MOST_LINES
    assert next(number for number, line in enumerate(lines, 1) if line in COMMANDS) <= FIRST_COMMAND_BY


@pytest.mark.parametrize("page", [ROOT / "README.md", PROTOCOL], ids=lambda path: path.name)
def test_links_arrive(page):
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", page.read_text()) if not target.startswith("https://")]
    for target in targets:
        path, _, heading = target.partition("#")
        assert (page.parent / path).exists(), target
        assert not heading or f"](#{heading})" in (page.parent / path).read_text(), target


def test_results_are_written_between_the_markers(report):
    assert all(README.count(mark.format(name)) == 1 for name in (FINDINGS, TABLE) for mark in (START, END))
    written = with_results(README, report, "results/published/long/REPORT.md")
    assert with_results(written, report, "results/published/long/REPORT.md") == written
    assert between(between(written, FINDINGS, ""), TABLE, "") == between(between(README, FINDINGS, ""), TABLE, "")
    rows = [line for line in written.splitlines() if line.startswith("| ")]
    assert all(any(line.startswith(f"| {row.says} |") for line in rows) for row in headline_rows(report))
    assert len(written.splitlines()) <= MOST_LINES
    with pytest.raises(ValueError, match="no markers <!-- claims -->"):
        between("nothing", TABLE, "")


def test_the_readme_has_no_command_of_another_kind():
    assert [command for command in COMMANDS if not command.startswith(KNOWN)] == []
    tested = {"train", "report", "export_wandb", "dashboard", "compare", "publish", "bn_in_one_file"}
    assert set(re.findall(rf"{re.escape(PYTHON)} scripts/(\w+)\.py", "\n".join(COMMANDS))) == tested


@pytest.mark.parametrize("arguments", commands("train.py"), ids=" ".join)
def test_training_commands_are_without_mistake(arguments):
    refuse_mistakes(arguments)


@pytest.mark.parametrize("arguments", commands("reproduce.sh"), ids=" ".join)
def test_reproduction_commands_plan_their_runs(arguments, monkeypatch, capsys):
    points_of = grids.grid
    monkeypatch.setattr(grids, "grid", lambda experiment: points_of(experiment)[:4])  # that all compose is tested in tests/launcher
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["reproduce.sh", *arguments, *([] if "--dry-run" in arguments else ["--dry-run"])])
    assert reproduce.main(reproduce_line.parse()) == 0
    assert re.search(r"^\d+ runs; about [\d?]", capsys.readouterr().out, re.M)


def test_a_sweep_its_comparison_and_its_export(tmp_path, monkeypatch, capsys):
    runs = tmp_path / "results" / "runs"
    small = ["data=synthetic", "train.steps=4", "train.eval_every=2", "train.population_batches=2", "probe.every=2",
             "wandb.mode=disabled", f"results_folder={runs}"]  # fmt: skip
    sweep = next(arguments for arguments in commands("train.py") if "network.depth=9" in arguments)
    answer = call("scripts/train.py", *sweep, *small)
    assert answer.returncode == 0, answer.stderr
    folders = sorted(path.parent for path in runs.glob("mnist_sigmoid/quick/*/summary.json"))
    assert len(folders) == 12
    (compared,) = commands("compare.py")
    monkeypatch.chdir(tmp_path)
    assert comparison.main(compared) == 0, capsys.readouterr().err
    assert (tmp_path / compared[-1]).exists()
    answer = call("scripts/export_wandb.py", str(folders[0]), "--folder", str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.parametrize("arguments", commands("report.py"), ids=" ".join)
def test_report_commands(arguments, report, tmp_path, monkeypatch, capsys):
    """On made-up runs, which the W&B run reads too."""
    write_tier(tmp_path / "results" / "runs", "quick", num_seeds=1)
    script = loaded("report")
    monkeypatch.chdir(tmp_path)
    small = dataclasses.replace(report, chapters=report.chapters[-2:])
    monkeypatch.setattr("bn_repro.report.report.build_report", lambda root, tier, published: small)
    monkeypatch.setattr(sys, "argv", ["report.py", *arguments])
    assert script.main(script.parse()) == 0
    assert "report: results/report/quick/report.html" in capsys.readouterr().out
    assert ("--wandb" in arguments) == bool(list(tmp_path.glob("results/wandb/wandb/offline-run-*")))


@pytest.mark.parametrize("arguments", sorted({tuple(a for a in found if a != "--push") for found in commands("dashboard.py")}))
def test_dashboard_command(arguments):
    """Without a login; what it would send is tested in tests/dashboard."""
    answer = call("scripts/dashboard.py", *arguments)
    assert answer.returncode == 0 and "Accuracy by arm" in answer.stdout, answer.stderr


@pytest.mark.parametrize("arguments", commands("publish.py"), ids=" ".join)
def test_unpacking_command(arguments, tmp_path, monkeypatch):
    script = loaded("publish")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(script.files, "sync_folder", lambda folder: None)  # nothing here must survive a power failure
    tier, folder = arguments[arguments.index("--tier") + 1], arguments[arguments.index("--unpack") + 1]
    assert script.unpack(tier, tmp_path / folder) == 0
    assert list((tmp_path / folder).glob(f"mnist_sigmoid/{tier}/*/summary.json"))


@pytest.mark.parametrize("arguments", commands("bn_in_one_file.py"), ids=" ".join)
def test_the_one_file_knows_its_arguments(arguments):
    """That it trains is tested in tests/scripts."""
    told = call("scripts/bn_in_one_file.py", "--help").stdout
    assert all(argument in told for argument in arguments if argument.startswith("--"))


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith(".venv/bin/wandb")])
def test_wandb_knows_its_commands(command):
    words = itertools.takewhile(str.isalpha, shlex.split(command)[1:])
    assert call("-m", "wandb", *words, "--help").returncode == 0


def test_code_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
