"""Is nothing right refused: every experiment, every norm, every value that a knob may have, every form of the grammar?"""

import itertools

import pytest
from bad_lines import KNOBS, kind_of, line_for

from bn_repro.checks.values import LONGEST_NAME
from bn_repro.config import NORMS
from bn_repro.launcher.command_line import read, refuse_mistakes
from bn_repro.launcher.grids import experiments, run_name, swept
from bn_repro.launcher.machine import refuse_what_is_missing

SMOKE = "experiment=mnist_sigmoid/smoke"
# Knobs whose limits another knob or the data narrows; their values are in lines of their own below.
NOT_ALONE = {
    "train.eval_every",
    "probe.every",
    "seed",
    "network.name",
    "network.norm",
    "data.name",
    "device",
    "data.image_size",
    "threads",
    "train.algorithm",
}


def limits_of(one):
    """Return the least and the greatest value that is declared, if it is closed."""
    values = [one.metadata[bound] for bound in ("low", "high") if one.metadata[bound] is not None]
    return [int(value) if kind_of(one) is int else value for value in values]


@pytest.mark.parametrize("experiment", experiments())
def test_every_experiment_by_itself(experiment):
    """The first corner of its grid; the whole grids are composed in test_command_line."""
    grid = swept(experiment)
    corner = [f"{name}={str(values).split(',')[0]}" for name, values in grid.items() if name != "seed"]
    refuse_mistakes([f"experiment={experiment}", "seed=0", *corner])


@pytest.mark.parametrize("name", [name for name in KNOBS if KNOBS[name].metadata["choices"] and name not in NOT_ALONE])
def test_every_choice(name):
    for value in KNOBS[name].metadata["choices"]:
        others = {"network.init": ["network.init_std=0.1"] if value == "gaussian" else []}.get(name, [])
        others += ["data.validation_size=500", "train.batch_size=50"] if value == "validation" else []
        read([*line_for(name), f"{name}={value}", *others])


@pytest.mark.parametrize("name", [name for name in KNOBS if kind_of(KNOBS[name]) is bool])
def test_both_truths(name):
    others = ["device=cuda"] if name == "train.sync_bn" else []
    for value in ("true", "false", "True"):
        read([*line_for(name), f"{name}={value}", *others])


@pytest.mark.parametrize(
    "line",
    [
        "-m S norm=none,batch,layer seed=0,1",
        "-m S seed=range(0,3)",
        "-m S seed=choice(0,1)",
        "-m S seed=sort(3,1,2)",
        "-m S seed=shuffle(range(0,3))",
        "-m S train.lr=0.1,1,1e-3 norm=batch",
        "-m S norm=batch seed=0 hydra/launcher=joblib",
        "-m S norm=batch seed=0 hydra/launcher=joblib hydra.launcher.n_jobs=2 hydra.launcher.verbose=1",
        "-m S hydra/launcher=basic",
        "-m S norm=batch network=sigmoid_mlp,inception data=synthetic_colour data.binarize_at=null",
        "S -m norm=none,batch",
        "-m S -- norm=none,batch",
        "S norm=batch seed=18446744073709551615",
        "S norm=batch seed=0 train.lr=1_0.5",
        "S norm=batch seed=0 train.lr=${train.final_lr_ratio}",
        "S norm=batch seed=0 train.trainable='hidden\\.\\d+\\.affine\\.weight'",
        'S norm=batch seed=0 train.trainable="(hidden|output).*"',
        "S norm=batch seed=0 probe.percentiles=[5,25,50,75,95]",
        "S norm=batch seed=0 results_folder=a/b/c data.folder=d wandb.mode=offline wandb.folder=e wandb.project=mine wandb.entity=me",
        "S norm=batch seed=0 wandb.mode=disabled wandb.entity=null threads=2 train.checkpoint_every=7",
        "S norm=batch seed=0 data.evaluate_on=validation data.validation_size=1140 train.batch_size=60 data.split_seed=3",
        "S norm=batch seed=0 probe.batch_size=600 probe.num_layers=4 probe.jacobian_every=10 data.evaluate_size=600",
        "S norm=batch seed=0 network.depth=9 network.width=7 probe.num_units=7",
        "S norm=none seed=0 train.batch_size=1",
        "S norm=layer seed=0 network.norm_eps=0.001 train.schedule=cosine train.final_lr_ratio=0.1",
        "S norm=batch seed=0 network.init=xavier network.init_std=null",
        "S norm=batch seed=0 network.nonlinearity=relu network.init=he",
        "norm=batch seed=0 train.lr=0.5 data=synthetic",
        "norm=batch seed=0 train.lr=0.5 data=cifar10 network=inception network.width=0.25",
        "experiment=inception/quick arm=bn_x30 seed=0 base.lr=0.01 network.width=0.125",
        "experiment=inception/smoke arm=bn_x5 seed=0 network.per_activation_size=4",
        "experiment=inception/smoke arm=bn_x5 seed=0 network.stem=separable network.stem_stride=9 network.has_lrn=true",
        "experiment=inception/smoke arm=bn_baseline seed=0 base.drop_rate=0.3 data.has_flips=false data.crop_padding=2",
        "S norm=batch seed=0 --cfg job",
        "S --cfg=job",
        "--help",
        "-h S",
        "-sc install=bash",
    ],
)
def test_lines_that_are_right(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = read([SMOKE if word == "S" else word for word in line.split()], refuse_what_is_missing)
    assert request.refused == [] and (request.runs or request.shows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_in_both_networks(norm):
    for line in ((SMOKE, "seed=0"), ("experiment=inception/smoke", "arm=bn_x5", "seed=0")):
        ((_, config),) = read([*line, f"norm={norm}"]).runs
        assert config.norm == config.network.norm == norm


NARROWED = ("more than", "leaves none", "kinds of examples", "out of sight", "has no effect", "multiple of", "side", "no variance", "needs")


def test_limits_are_allowed():
    """The least and the greatest of every number, where neither another knob nor the data is narrower."""
    for name, one in KNOBS.items():
        for value in () if name in NOT_ALONE or kind_of(one) not in (int, float) else limits_of(one):
            try:
                read([*line_for(name), f"{name}={value}"])
            except ValueError as error:
                assert any(words in str(error) for words in NARROWED), (name, value, error)


def test_names_up_to_the_longest():
    ((overrides, config),) = read([SMOKE, "norm=batch", "seed=0", "train.trainable='" + "|".join(["output.bias"] * 19) + "'"]).runs
    assert LONGEST_NAME - 20 < len(config.name) <= LONGEST_NAME and run_name(config, overrides) == config.name


def test_a_grid_asks_for_each_of_its_runs_once():
    request = read(["-m", SMOKE, "norm=none,layer", "train.lr=0.1,0.2"])
    assert [config.name for _, config in request.runs] == [
        f"{norm}-s{seed},train.lr={lr}" for norm, seed, lr in itertools.product(("none", "layer"), (0, 1, 2), (0.1, 0.2))
    ]
    assert {config.network.norm for _, config in request.runs} == {"none", "layer"}


def test_a_sweep_goes_on_past_what_is_refused_and_a_grid_of_a_file_does_not():
    request = read(["-m", SMOKE, "norm=batch", "seed=0", "train.batch_size=60,2000,100"])
    assert [config.train.batch_size for _, config in request.runs] == [60, 100]
    assert request.refused == ["train.batch_size=2000 is more than the 1200 training examples of synthetic"]
    with pytest.raises(ValueError, match="train.batch_size=1 has no variance; norm=batch"):
        read([SMOKE, "train.batch_size=1"])  # the file sweeps norm=none,batch
    with pytest.raises(ValueError, match="train.batch_size=2000 is more"):
        read(["-m", SMOKE, "train.batch_size=2000,3000"])


def test_a_cluster_may_have_what_this_machine_lacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["experiment=inception/imagenet", "arm=bn_x5", "seed=0"]
    with pytest.raises(ValueError, match="device=cuda|no images in"):
        read(line, refuse_what_is_missing)
    assert len(read([*line, "hydra/launcher=slurm"], refuse_what_is_missing).runs) == 1
