"""Is every mistake of some 1,900 answered in one line and code 2, without torch, with nothing written?"""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bad_lines import LINES

from bn_repro.launcher.machine import DRIVERS

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
REFUSE_TO_LOAD = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "timm", "wandb", "matplotlib", "scipy", "sklearn"):
            raise RuntimeError(f"{name} takes seconds to load")

sys.meta_path.insert(0, Refusing())
"""
NUM_PROCESSES = 15
# What a process does with the [script, arguments] of its standard input: read them as the script does; last, what it has loaded.
ANSWER_ALL = """
import contextlib, io, json, runpy, sys, time
from bn_repro.checks.arguments import exit_code_of

answers, scripts = [], {}
for script, arguments in json.load(sys.stdin):
    sys.argv = [script, *arguments]
    if script not in scripts:
        scripts[script] = runpy.run_path(script)["parse"]
    out, err, started = io.StringIO(), io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = exit_code_of(scripts[script], lambda _: 0)
    answers.append((code, out.getvalue(), err.getvalue(), time.process_time() - started))
json.dump([answers, sorted({name.split(".")[0] for name in sys.modules})], sys.stdout)
"""
HEAVY = {"torch", "torchvision", "timm", "wandb", "scipy", "matplotlib"}


def answers_to(lines, folder):
    """Return (exit code, output, complaint, seconds) of each (script, arguments), all read in one process that loads nothing heavy."""
    given = json.dumps([(str(ROOT / "scripts" / script), arguments) for script, arguments in lines])
    command = [sys.executable, "-c", ANSWER_ALL]
    finished = subprocess.run(command, input=given, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    answers, loaded = json.loads(finished.stdout)
    assert not set(loaded) & HEAVY and list(folder.iterdir()) == []
    return list(zip(lines, answers, strict=True))


def assert_refused(answered):
    """Exit code 2, and one line that is not long; at once."""
    for line, (code, said, complaint, _) in answered:
        assert (code, said, len(complaint.splitlines())) == (2, "", 1), (line, complaint)
        assert complaint.startswith("error: ") and complaint[:-1].isprintable() and len(complaint) < 400, (line, complaint)
    assert sorted(seconds for _, (*_, seconds) in answered)[len(answered) // 2] < 0.2


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    lines = [("train.py", line) for lines in LINES.values() for line in lines]
    answers = iter(answers_to(lines, tmp_path_factory.mktemp("elsewhere")))
    return {kind: [next(answers) for _ in lines] for kind, lines in LINES.items()}


@pytest.mark.parametrize("kind", LINES)
def test_mistakes_of_a_kind(kind, answered):
    assert_refused(answered[kind])


def test_there_are_enough_lines():
    assert sum(map(len, LINES.values())) > 1_500 and min(map(len, LINES.values())) > 20


@pytest.mark.parametrize("line", random.Random(0).sample([line for lines in LINES.values() for line in lines], NUM_PROCESSES), ids=str)
def test_the_real_script(line, tmp_path):
    """Exit code 2, one line on stderr, nothing written, and nothing loaded that takes seconds; the benchmark times it."""
    guard, elsewhere = tmp_path / "guard", tmp_path / "elsewhere"
    for folder in (guard, elsewhere):
        folder.mkdir()
    (guard / "sitecustomize.py").write_text(REFUSE_TO_LOAD)
    finished = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "train.py"), *line],
        cwd=elsewhere,
        env=ENVIRONMENT | {"PYTHONPATH": f"{guard}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert (finished.returncode, finished.stdout, len(finished.stderr.splitlines())) == (2, "", 1), finished.stderr
    assert "takes seconds to load" not in finished.stderr
    assert list(elsewhere.iterdir()) == []


SCRIPTS = {
    "reproduce.py": ("--only nope", "--only covariate_shif", "--only inception/long", "--only ''", "--tier gup", "--tier", "quick",
                     "--dry", "--tier quick --tier quick", "--jobs 0", "--jobs \uff15", "--jobs -1", "--jobs 1.5", "--jobs 1000000",
                     "--images-per-second 5", "--images-per-second nan --tier imagenet --dry-run",
                     "--images-per-second \uff15 --tier imagenet --dry-run", "--slurm partition=x", "--launcher slrm",
                     "--launcher local --slurm partitoin=x", "--launcher local --slurm partition", "--launcher local --jobs 2",
                     "--launcher local --collect", "--jobs 2 --collect", "--launcher local --slurm partition=x partition=y",
                     "--tier imagenet"),
    "dashboard.py": ("--tier gpu", "--tier gup", "--project ''", "--project a/b", "--entity ''", "--pusch"),
    "export_wandb.py": ("", "nope", ".", "--mode disabled .", "--folder /dev/null .", "--folder '' ."),
    "fetch_data.py": ("", "cifar", "mnist --folder ''", "mnist --folder /proc/x", "mnist --folder data --folder data"),
    "report.py": ("--tier gup", "--tier gpu", "--wandb on", "--project x", "--wandb offline --folder /dev/null",
                  "--wandb offline --entity ''",
                  "--folder x --folder y", "nope", "--pusch"),
    "compare.py": ("", "nope", "'*'", "nope --figure x.gif", "nope --figure /proc/x/y.svg", "nope --figure ''", "nope --metric ''",
                   "nope --by ''", "nope --buy norm", "''"),
    "publish.py": ("", "--tier gup", "--tier", "--tier quick --without nope",
                   "--tier quick --without inception/nope", "--tier quick --without inception/", "--tier quick --without /",
                   "--tier quick --without mnist_sigmoid --redraw",
                   "--tier quick --unpack /dev/null", "--tier quick --unpack ''", "--tier quick extra"),
    "rules.py": ("--mean-the-same", "x"),
    "benchmark.py": ("--rounds 0", "--rounds x", "--rounds \uff15", "--only all", "mistake"),
}  # fmt: skip


def test_mistakes_of_other_scripts(tmp_path):
    assert_refused(answers_to([(script, shlex.split(words)) for script, lines in SCRIPTS.items() for words in lines], tmp_path))


@pytest.mark.skipif(any(map(os.path.exists, DRIVERS)), reason="there may be a GPU here")
def test_a_device_that_is_not_here_is_missed_without_torch(tmp_path):
    lines = [("train.py", ["experiment=mnist_sigmoid/smoke", f"device={name}"]) for name in ("cuda", "cuda:0", "cuda:1")]
    assert_refused(answers_to(lines, tmp_path))


def written_to(place, script, *words, **options):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *words],
        env=ENVIRONMENT,
        stdout=place,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    "script, words", [("train.py", "--help"), ("train.py", "experiment=mnist_sigmoid/smoke --cfg job"), ("report.py", "--help")]
)
def test_an_output_that_is_full_is_told_in_one_line(script, words, tmp_path):
    with open("/dev/full", "w") as full:
        finished = written_to(full, script, *shlex.split(words), cwd=tmp_path)
    assert finished.returncode == 1 and finished.stderr == "error: [Errno 28] No space left on device\n"


def test_a_reader_that_leaves_is_no_mistake(tmp_path):
    read, write = os.pipe()
    os.close(read)
    finished = written_to(write, "train.py", "--help", cwd=tmp_path)
    os.close(write)
    assert (finished.returncode, finished.stderr) == (128 + signal.SIGPIPE, "")
