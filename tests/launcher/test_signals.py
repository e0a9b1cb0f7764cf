"""Does a command leave with one line and the right code, whenever a signal comes?"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bn_repro.launcher.grids import CONFIGS

ROOT = CONFIGS.parent
BOTH = pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
SECONDS = 60  # to leave in, on a machine that does much else; an idle one needs a tenth of one


def start(folder, *command):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def answer(process, number):
    """Send a signal to a command and its children, as a terminal does; return its code, what it says, and the seconds it takes."""
    started = time.monotonic()
    os.killpg(process.pid, number)
    said, complaints = process.communicate(timeout=120)
    return process.returncode, said + complaints, time.monotonic() - started


def waiting_for(process, condition):
    give_up = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.05)


def listens(process):
    """Say whether a process has a handler for SIGTERM, as Linux tells."""
    caught = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) & 1 << signal.SIGTERM - 1


LEAVES = """
import sys, time
from bn_repro.launcher.signals import leave_on_signals, stopping_on_signals
leave_on_signals()
with stopping_on_signals("of the inner one") as flag:
    if sys.argv[1] == "polled":
        flag()
    print("ready")
    for _ in range(600):
        time.sleep(0.1)
        if sys.argv[1] == "polled" and flag():
            sys.exit(flag.exit_code + 50)
"""


@BOTH
@pytest.mark.parametrize("state", ["not_polled", "polled"])
def test_at_once_until_it_is_polled(tmp_path, number, code, state):
    process = start(tmp_path, "-c", LEAVES, state)
    assert process.stdout.readline() == "ready\n"
    expected = (code, "of the inner one\n") if state == "not_polled" else (code + 50, "")
    assert answer(process, number)[:2] == expected


def test_what_puts_a_preempted_job_back_is_called_at_once(tmp_path):
    job = """
import os, signal, sys
from bn_repro.launcher.signals import stopping_on_signals
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(7))
with stopping_on_signals():
    os.kill(os.getpid(), signal.SIGUSR2)
"""
    assert subprocess.run([sys.executable, "-c", job], cwd=ROOT, check=False).returncode == 7


@BOTH
def test_while_imports_load(tmp_path, number, code):
    process = start(tmp_path, ROOT / "scripts" / "train.py", "experiment=mnist_sigmoid/smoke", "norm=none", "seed=0")
    waiting_for(process, lambda: listens(process))
    returncode, said, seconds = answer(process, number)
    lines = [line for line in said.splitlines() if not line.startswith(f"called from {tmp_path}: ")]
    assert returncode == code and len(lines) == 1 and "interrupted" in said and seconds < SECONDS
    assert not list(tmp_path.rglob("summary.json"))  # a fast machine may have begun the run


def test_while_a_network_is_built(tmp_path):
    overrides = ("experiment=mnist_sigmoid/smoke", "norm=none", "seed=0", "network.depth=1000000", "wandb.mode=disabled")
    process = start(tmp_path, ROOT / "scripts" / "train.py", *overrides, f"results_folder={tmp_path / 'runs'}")
    waiting_for(process, lambda: list(tmp_path.glob("runs/*/*/*/.lock")))
    time.sleep(1)
    returncode, said, seconds = answer(process, signal.SIGTERM)
    assert returncode == 143 and seconds < SECONDS
    told = "mnist_sigmoid/smoke/none-s0,network.depth=1000000: interrupted before a step was taken; nothing is lost"
    assert said.splitlines()[0].startswith(f"called from {tmp_path}: ") and said.splitlines()[1:] == [told]


@pytest.mark.parametrize("number, code, moment", [(signal.SIGTERM, 143, 2.5), (signal.SIGINT, 130, None)])
def test_reproduce_leaves_with_its_children(tmp_path, number, code, moment):
    """As it starts, and in the middle of its runs."""
    process = start(tmp_path, ROOT / "scripts" / "reproduce.py", "--tier", "smoke", "--jobs", "2")
    if moment is None:
        waiting_for(process, lambda: list(tmp_path.glob("results/runs/*/*/*/metrics.jsonl")))
    else:
        waiting_for(process, lambda: listens(process))
        time.sleep(moment)
    returncode, said, seconds = answer(process, number)
    assert returncode == code and seconds < SECONDS, said
    assert "Traceback" not in said and "Error" not in said and "failed" not in said
    assert sum("interrupted" in line and "/smoke/" not in line for line in said.splitlines()) == 1
