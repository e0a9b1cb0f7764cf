"""Does a sweep do all it can, say what it could not, and where its results are?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bn_repro.launcher import runs
from bn_repro.launcher.command_line import read
from bn_repro.launcher.grids import CONFIGS
from bn_repro.launcher.sweep import do_runs

ROOT = Path(__file__).parents[2]
SMALL = ("experiment=mnist_sigmoid/smoke", "norm=batch", "seed=0", "train.steps=2", "train.eval_every=2", "probe.every=2",
         "train.population_batches=2", "wandb.mode=disabled")  # fmt: skip


def train(folder, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


@pytest.fixture
def ended(monkeypatch):
    """Return a function that carries out a line whose runs end with given exit codes, and the runs that were begun."""
    begun = []

    def carry_out(line, codes):
        def run_here(config):
            begun.append(config.name)
            code = codes.get(len(begun), 0)
            if isinstance(code, Exception):
                raise code
            return code

        monkeypatch.setattr(runs, "run_here", run_here)
        return do_runs(read(line)), begun

    return carry_out


SWEEP = ("-m", "experiment=mnist_sigmoid/smoke", "norm=batch", "seed=0,1,2")


@pytest.mark.parametrize(
    "codes, exit_code, num_begun, told",
    [
        ({}, 0, 3, ""),
        ({1: 1}, 1, 3, "error: 1 of 3 runs failed: batch-s0"),
        ({1: 2, 3: 1}, 2, 3, "error: 2 of 3 runs failed: batch-s0, batch-s2"),
        ({2: 130}, 130, 2, ""),
        ({1: 1, 2: 143}, 143, 2, ""),
        ({2: RuntimeError("out of luck")}, 1, 3, "error: 1 of 3 runs failed: batch-s1"),
    ],
)
def test_how_runs_end(ended, capsys, monkeypatch, codes, exit_code, num_begun, told):
    monkeypatch.chdir(ROOT)
    code, begun = ended(SWEEP, codes)
    said = capsys.readouterr()
    assert (code, len(begun), (said.err.splitlines() or [""])[-1], said.out) == (exit_code, num_begun, told, "")


def test_refused_runs_are_told_first_and_last(ended, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, begun = ended((*SWEEP[:3], "seed=0", "train.batch_size=60,2000,100,5000"), {})
    first, last = capsys.readouterr().err.splitlines()
    reasons = [f"train.batch_size={number} is more than the 1200 training examples of synthetic" for number in (2000, 5000)]
    assert (code, begun) == (2, ["batch-s0,train.batch_size=60", "batch-s0,train.batch_size=100"])
    assert first == f"2 of 4 runs refused: {'; '.join(reasons)}; the others are done"
    assert last == f"error: 2 of 4 runs refused: {'; '.join(reasons)}"


@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")], ids=["basic", "joblib"])
def test_a_sweep_past_a_refused_run(launcher, tmp_path):
    """The real script, from another folder: what can be done is done, by either launcher, and the folders are told."""
    finished = train(tmp_path, "-m", *SMALL, "train.batch_size=60,2000,100", *launcher)
    assert finished.returncode == 2, finished.stderr
    assert "train.batch_size=2000" in finished.stderr.splitlines()[-1] and len(finished.stderr.splitlines()) == 2
    done = {path.parent.name.split("train.batch_size=")[1].split(",")[0] for path in tmp_path.rglob("summary.json")}
    assert done == {"60", "100"}
    assert {path.name for path in tmp_path.glob("*/*")} == ({"runs", ".hydra"} if launcher else {"runs"})
    assert finished.stdout.splitlines()[0] == f"called from {tmp_path}: results go to {tmp_path}/results/runs, data to {tmp_path}/data"


def test_the_folder_of_the_code_is_no_other(ended, capsys, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    ended(SMALL, {})
    assert capsys.readouterr().out == ""
