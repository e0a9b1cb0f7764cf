"""Is every mistake on the command line answered at once, in one line that names it and what was probably meant?"""

import ast
import dataclasses
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from composed import smoke

from bn_repro.checks.runs import check
from bn_repro.checks.values import check_value, nearest
from bn_repro.config import NORMS, differences, walk
from bn_repro.launcher import grids
from bn_repro.launcher.choice import choose
from bn_repro.launcher.command_line import refuse_mistakes
from bn_repro.launcher.grids import CONFIGS, config_of, configs_of, experiments, grid, run_name
from bn_repro.studies import STUDIES

ROOT = Path(__file__).parents[2]
SMOKE = "experiment=mnist_sigmoid/smoke"


def refusal(*arguments):
    with pytest.raises(ValueError) as error:
        refuse_mistakes(arguments)
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize(
    "arguments, told",
    {
        # unknown keys, with the nearest valid one
        (SMOKE, "train.lrr=1"): ["train.lrr", "did you mean train.lr?"],
        (SMOKE, "lr=0.5"): ["no knob lr", "did you mean train.lr?"],
        (SMOKE, "batchsize=60"): ["no knob batchsize", "did you mean train.batch_size?"],
        (SMOKE, "network.widht=5"): ["network.widht", "did you mean network.width?"],
        (SMOKE, "foo=1"): ["no knob foo"],
        (SMOKE, "train=3"): ["no knob train"],
        (SMOKE, "hydra.foo=1"): ["hydra.foo"],
        # near-misses behind a plus
        ("+lrr=1",): ["+lrr=1", "leave the + out", "did you mean train.lr?"],
        ("+train.lr=1",): ["+train.lr=1", "leave the + out"],
        ("++train.lr=1",): ["++train.lr=1", "leave the + out"],
        # deletions, empty values, repeats
        ("~data",): ["~data", "nothing can be deleted"],
        ("~train.lr",): ["~train.lr", "nothing can be deleted"],
        ("lr=",): ["lr has no value", "did you mean train.lr?"],
        (SMOKE, "train.lr="): ["train.lr has no value"],
        ("experiment=",): ["experiment has no value"],
        ("norm=batch", "norm=none"): ["norm=none", "norm is given twice"],
        (SMOKE, "seed=0", "seed=0"): ["seed is given twice"],
        ("norm",): ["norm", "name=value"],
        (SMOKE, "train.lr=[1"): ["train.lr=[1", "name=value"],
        # sweeps
        ("-m", "experiment=mnist_sigmoid/smoke,mnist_sigmoid/quick"): ["one experiment at a time"],
        ("-m", "experiment=glob(*)"): ["one experiment at a time"],
        (SMOKE, "train.lr=0.1,0.2"): ["train.lr=0.1,0.2", "-m"],
        ("-m", SMOKE, "train.lr=0.1,abc"): ["train.lr=abc"],
        ("-m", SMOKE, "norm=none,btch"): ["norm=btch", "did you mean batch?"],
        # choices
        (SMOKE, "norm=btch"): ["norm=btch", "did you mean batch?", *NORMS],
        (SMOKE, "network.norm=btch"): ["norm=btch", "did you mean batch?", *NORMS],
        (SMOKE, "network.nonlinearity=sigmod"): ["did you mean sigmoid?", "tanh", "relu", "identity"],
        (SMOKE, "train.schedule=cosin"): ["did you mean cosine?", "constant", "exponential"],
        (SMOKE, "wandb.mode=ofline"): ["did you mean offline?", "online", "disabled"],
        ("experiment=mnist_sigmoid/smok",): ["did you mean mnist_sigmoid/smoke?", "mnist_sigmoid/quick"],
        ("data=mnst",): ["did you mean mnist?", "fashion_mnist"],
        (SMOKE, "network=sigmoid"): ["did you mean sigmoid_mlp?"],
        (SMOKE, "arm=other"): ["arm=other"],  # Hydra would skip an optional group's unknown choice in silence
        (SMOKE, "hydra/launcher=jobli"): ["jobli"],
        # ranges and types
        (SMOKE, "train.lr=-1"): ["train.lr=-1", "above 0"],
        (SMOKE, "train.lr=0"): ["train.lr=0", "above 0"],
        (SMOKE, "train.lr=nan"): ["train.lr=nan"],
        (SMOKE, "train.lr=inf"): ["train.lr=inf"],
        (SMOKE, "train.lr=fast"): ["train.lr=fast"],
        (SMOKE, "train.steps=0"): ["train.steps=0", "at least 1"],
        (SMOKE, "train.steps=1.5"): ["train.steps=1.5"],
        (SMOKE, "train.momentum=1.5"): ["train.momentum=1.5", "at most 1"],
        (SMOKE, "seed=-1"): ["seed=-1", "at least 0"],
        (SMOKE, "seed=a"): ["seed=a"],
        (SMOKE, "norm=null"): ["norm=null"],
        (SMOKE, "data.binarize_at=1"): ["data.binarize_at=1"],
        (SMOKE, "probe.percentiles=[10,200]"): ["probe.percentiles=200", "at most 100"],
        (SMOKE, "probe.percentiles=[-1]"): ["probe.percentiles=-1", "at least 0"],
        (SMOKE, "probe.percentiles=[85,50,15]"): ["probe.percentiles=[85,50,15] must ascend: [15,50,85]"],
        (SMOKE, "probe.percentiles=[15,85]"): ["probe.percentiles=[15,85]", "50, the median, in the middle"],
        (SMOKE, "probe.percentiles=[50]"): ["probe.percentiles=[50]", "50, the median, in the middle"],
        (SMOKE, "probe.percentiles=[5,50,60,70,95]"): ["50, the median, in the middle"],
        (SMOKE, "train.trainable='('"): ["train.trainable"],
        # what does not go together
        (SMOKE, "norm=batch", "train.batch_size=1"): ["train.batch_size=1", "norm=batch", "at least 2"],
        (SMOKE, "train.batch_size=1"): ["train.batch_size=1", "norm=batch"],  # the experiment's own grid has norm=none first
        ("-m", SMOKE, "norm=none,batch", "train.batch_size=60,1"): ["train.batch_size=1", "norm=batch"],
        (SMOKE, "data.evaluate_on=validation", "data.validation_size=0"): ["data.validation_size"],
        # what has no default
        ("norm=batch", "seed=0"): ["train.lr has no value", "train.lr="],
        ("train.lr=1", "seed=0"): ["norm has no value", "norm="],
        ("train.lr=1", "norm=batch"): ["seed has no value", "seed="],
    }.items(),
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_mistakes_are_refused_in_one_line(arguments, told):
    line = refusal(*arguments)
    assert all(part in line for part in told), line


@pytest.mark.parametrize(
    "arguments",
    [
        (SMOKE,),
        (SMOKE, "norm=none", "train.batch_size=1"),
        ("-m", SMOKE, "train.lr=0.1,0.2", "seed=range(0,3)"),
        ("norm=batch", "seed=0", "train.lr=0.5", "data=synthetic", "data.binarize_at=null"),
        ("-m", SMOKE, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        (SMOKE, "probe.percentiles=[5,50,95]", "wandb.mode=disabled"),
        (SMOKE, "--cfg", "job"),
        ("--help",),
    ],
    ids=" ".join,
)
def test_what_is_right_passes(arguments):
    refuse_mistakes(arguments)


def test_an_unknown_flag_is_refused_too(capsys):
    with pytest.raises((ValueError, SystemExit)) as error:
        refuse_mistakes([SMOKE, "--mutlirun"])
    assert error.type is ValueError or error.value.code == 2
    assert len(str(error.value).splitlines()) == 1 and len(capsys.readouterr().err.splitlines()) <= 1


def test_the_answer_comes_without_torch_in_one_line_and_code_2(tmp_path):
    """The real script: exit code 2, one line on stderr, no file written, neither torch nor wandb loaded."""
    command = [sys.executable, "-X", "importtime", str(ROOT / "scripts" / "train.py"), SMOKE, "norm=batch", "seed=0", "train.lrr=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    imports = [line for line in finished.stderr.splitlines() if line.startswith("import time:")]
    (complaint,) = [line for line in finished.stderr.splitlines() if not line.startswith("import time:")]
    assert complaint == "error: train.lrr=1: there is no knob train.lrr; did you mean train.lr?"
    assert finished.returncode == 2 and finished.stdout == "" and list(tmp_path.iterdir()) == []
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in imports}
    assert "bn_repro" in loaded and "hydra" in loaded and not loaded & {"torch", "wandb", "timm", "torchvision", "scipy", "matplotlib"}


def test_run_name_is_made_of_what_was_said():
    config = smoke("norm=batch", "seed=3")
    said = ["experiment=mnist_sigmoid/smoke", "norm=batch", "seed=3"]
    assert run_name(config, said) == "batch-s3"
    assert run_name(config, [*said, "train.lr=0.5", "data=fashion_mnist"]) == "batch-s3,data=fashion_mnist,train.lr=0.5"
    assert run_name(config, [*said, "train.lr=0.5", "network.width=7"]) == run_name(config, ["network.width=7", "train.lr=0.5", *said])
    machine = ["results_folder=/x", "wandb.mode=offline", "threads=2", "data.folder=/y", "train.checkpoint_every=5", "name=other"]
    assert run_name(config, said + machine) == "batch-s3"  # what changes no result is not in the address
    assert "/" not in run_name(config, [*said, "train.trainable=a/b"])
    assert run_name(dataclasses.replace(config, arm="other"), said) == "other-s3,norm=batch"


def test_grid_is_spelled_out():
    points = grid("mnist_sigmoid/smoke")
    assert points == [
        ["experiment=mnist_sigmoid/smoke", f"norm={norm}", f"seed={seed}"] for norm in ("none", "batch") for seed in (0, 1, 2)
    ]


def test_configs_of_a_grid(tmp_path):
    configs = configs_of("mnist_sigmoid/smoke", [f"results_folder={tmp_path}"])
    assert [config.name for config in configs] == ["none-s0", "none-s1", "none-s2", "batch-s0", "batch-s1", "batch-s2"]
    assert [(config.norm, config.network.norm, config.seed) for config in configs[2:4]] == [("none", "none", 2), ("batch", "batch", 0)]
    assert {config.results_folder for config in configs} == {str(tmp_path)}
    assert configs[0].train.steps == 60 and configs[0].data.name == "synthetic"


@pytest.mark.parametrize("experiment", ["inception/long", "text_head/quick", "policy_diversity/quick"])
def test_runs_that_differ_in_their_seed_are_as_if_each_were_composed(experiment):
    assert configs_of(experiment) == [config_of(overrides) for overrides in grid(experiment)]


def test_no_knob_but_the_name_depends_on_the_seed():
    files = [path for path in CONFIGS.rglob("*.yaml") if re.search(r"\$\{[^}]*\bseed\b", path.read_text())]
    assert files == [CONFIGS / "train.yaml"] and len(re.findall(r"\$\{[^}]*\bseed\b", files[0].read_text())) == 1


def covering(points):
    """Return points in which every value of the grid occurs, where all would take too long."""
    seen, chosen = set(), []
    for point in points:
        if not seen.issuperset(point):
            seen.update(point)
            chosen.append(point)
    return points if len(points) <= 6 else chosen


@pytest.mark.parametrize("experiment", experiments())
def test_every_experiment_file_composes(experiment, monkeypatch):
    points = covering(grid(experiment))
    monkeypatch.setattr(grids, "grid", lambda _: points)
    configs = configs_of(experiment)
    name, tier = experiment.split("/")
    assert {(config.experiment, config.tier) for config in configs} == {(name, tier)}
    assert len({config.name for config in configs}) == len(configs)
    for config in configs:
        for knob, value, _ in walk(config):
            assert not (isinstance(value, str) and "${" in value), knob


@pytest.mark.parametrize("experiment", experiments())
def test_every_experiment_file_opens_with_its_command(experiment):
    lines = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    opening = "\n".join(line for line in lines[:12] if line.startswith("#"))
    assert f"experiment={experiment}" in opening or f"--only {experiment.split('/')[0]}" in opening


@pytest.mark.parametrize("experiment", experiments())
def test_the_number_of_runs_in_an_opening_is_that_of_its_command(experiment):
    name, tier = experiment.split("/")
    opening = " ".join(line for line in (CONFIGS / "experiment" / f"{experiment}.yaml").read_text().splitlines()[:12] if line[:1] == "#")
    found = re.search(r"--only (\S+) +\((\d+) runs?\b", opening)
    if found:
        chosen = choose(tier, found[1], STUDIES, lambda name: math.inf).experiments
        assert int(found[2]) == sum(len(grid(one)) for one in chosen)


def test_differences_are_of_what_changes_results():
    config = smoke()
    recorded = {name: value for name, value, _ in walk(config)}
    assert differences(config, recorded) == []
    assert differences(config, recorded | {"threads": 9, "wandb.mode": "online", "results_folder": "x", "name": "y"}) == []
    assert differences(config, recorded | {"train.lr": 0.25}) == ["train.lr: 0.25 recorded, 0.5 asked for"]
    assert len(differences(config, recorded | {"network.depth": 2, "seed": 7})) == 2


def test_every_knob_says_what_it_means():
    for name, _, metadata in walk(smoke()):
        assert metadata["meaning"], name


def test_nearest():
    assert nearest("train.lrr", ["train.lr", "seed"]) == "; did you mean train.lr?"
    assert nearest("lr", ["train.lr", "seed"]) == "; did you mean train.lr?"
    assert nearest("xyz", ["train.lr", "seed"]) == ""


def test_ranges_are_closed_or_open_as_declared():
    check(smoke())
    for value in (0.1, 1.0, None):
        check_value("x", value, {"low": 0, "high": 1})
    check_value("x", [0, 100], {"low": 0, "high": 100})
    check_value("x", 1e-9, {"above": 0})
    for value, bounds in (
        (-0.1, {"low": 0}),
        (1.1, {"high": 1}),
        (0, {"above": 0}),
        ([5, 101], {"high": 100}),
        ("c", {"choices": ("a", "b")}),
    ):
        with pytest.raises(ValueError, match="x="):
            check_value("x", value, bounds)


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.name)
def test_scripts_parse(script):
    assert ast.get_docstring(ast.parse(script.read_text()))
