"""Does the help tell every knob, does --cfg show a run's config, and can a shell complete a line?"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bn_repro.config import NORMS
from bn_repro.config.schemas import KNOBS
from bn_repro.launcher.command_line import read
from bn_repro.launcher.completion import SHELLS, choices_for, completion
from bn_repro.launcher.grids import experiments
from bn_repro.launcher.help import help_text, text_of

ROOT = Path(__file__).parents[2]


def test_help_tells_every_knob_and_group():
    text = help_text()
    words = " ".join(text.split())
    for name, one in KNOBS.items():
        assert (f"\n  {name} " in text) == (name not in ("name", "tier")), name
        assert one.metadata["meaning"] in words or name in ("name", "tier")
    assert "train.lr initial learning rate (number above 0)" in words
    assert "probe.percentiles which percentiles ([numbers] of % from 0 to 100)" in words
    assert f"norm shorthand for network.norm ({', '.join(NORMS)})" in words
    assert "data.crop_padding pixels by which training images are shifted at most (whole number of pixels from 0 to 1_024)" in words
    assert all(experiment in text for experiment in experiments())
    assert max(map(len, text.splitlines())) <= 130


def test_cfg_shows_the_first_run():
    text = text_of(read(["experiment=mnist_sigmoid/smoke", "train.lr=0.25", "--cfg", "job"]))
    assert text.splitlines()[0] == "# mnist_sigmoid/smoke/none-s0,train.lr=0.25, the first of 6 runs"
    shown = yaml.safe_load(text)
    assert shown["train"]["lr"] == 0.25 and shown["network"]["norm"] == "none" and "controls" not in shown


@pytest.mark.parametrize(
    "line, found",
    {
        "norm=": [f"norm={norm}" for norm in NORMS],
        "norm=none,no": ["norm=none,none", "norm=none,noisy_batch", "norm=none,noisy_none"],
        "data.sp": ["data.split_seed="],
        "train.lr=": [],
        "data.has_flips=t": ["data.has_flips=true"],
        "experiment=mnist_sigmoid/s": ["experiment=mnist_sigmoid/smoke"],
        "network=inception network.st": ["network.stem=", "network.stem_stride="],
        "network=sigmoid_mlp network.st": [],
        "experiment=inception/smoke network.wi": ["network.width="],
        "data.split_seed=1 data.sp": [],
        "tier": [],
        "hydra/l": ["hydra/launcher="],
        "hydra/launcher=job": ["hydra/launcher=joblib"],
        "--h": ["--help"],
        "nothing=x": [],
    }.items(),
)
def test_what_a_word_may_become(line, found):
    *before, word = line.split(" ")
    assert choices_for(word, before) == found


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_asks_this_program(shell, monkeypatch):
    assert "-sc query" in completion([f"install={shell}"]) and "_bn_repro_train" in completion([f"uninstall={shell}"])
    monkeypatch.setenv("COMP_LINE", ".venv/bin/python scripts/train.py -m experiment=mnist_sigmoid/quick norm=b")
    assert completion([f"query={shell}"]) == "norm=batch"
    monkeypatch.setenv("COMP_LINE", "python scripts/train.py ")
    assert {"experiment=", "train.lr=", "data="} <= set(completion([f"query={shell}"]).splitlines())


# What each shell offers for the words after the script's name.
IN_BASH = """
eval "$({python} {script} -sc install=bash)"
COMP_LINE="{python} {script} {words}"; COMP_POINT=${{#COMP_LINE}}; COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
COMP_WORDS=({python} {script} {words}); COMP_CWORD=2
_bn_repro_train; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
IN_FISH = "{python} {script} -sc install=fish | source; complete -C '{python} {script} {words}'"


def said_by(shell, script):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([shell, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes():
    at = {"python": sys.executable, "script": "scripts/train.py"}
    assert said_by("bash", IN_BASH.format(words="data.sp", **at)) == ["data.split_seed="]
    assert said_by("bash", IN_BASH.format(words="norm=noisy_n", **at)) == ["noisy_none"]  # what stands before = is no part of bash's word


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
def test_fish_completes():
    (found,) = said_by("fish", IN_FISH.format(python=sys.executable, script="scripts/train.py", words="data.sp"))
    assert re.fullmatch("data.split_seed=", found)
