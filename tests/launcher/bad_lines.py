"""Command lines that are mistakes, generated from the schema and from the grammar of overrides; by kind."""

import itertools
import types
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from typing import get_args, get_origin

from bn_repro.config import Config
from bn_repro.config.evolution import EvolutionConfig
from bn_repro.config.images import ImageDataConfig
from bn_repro.config.schemas import KNOBS as EVERY_KNOB
from bn_repro.config.schemas import NETWORKS, field_of, knobs_of
from bn_repro.config.text import TextDataConfig

LINES_OF = {
    "sigmoid_mlp": ("experiment=mnist_sigmoid/smoke", "norm=batch", "seed=0"),
    "inception": ("experiment=inception/smoke", "arm=bn_x5", "seed=0"),
    "language_model": ("experiment=text_language_model/smoke", "seed=0"),
    "text_classifier": ("experiment=text_head/smoke", "norm=batch", "seed=0"),
    "bag_of_words": ("experiment=text_bag_of_words/smoke", "seed=0"),
    "evolution": ("experiment=evolution_curves/smoke", "arm=es_virtual_batch", "seed=0"),
}
SMOKE = LINES_OF["sigmoid_mlp"]


def home_of(name: str) -> tuple[str, Field]:
    """Return the first network whose runs have a knob, or that evolution has it, and its field there."""
    parts = {one.name: one.type for one in fields(Config) if is_dataclass(one.type)}
    for network, schema in NETWORKS.items():
        data = ImageDataConfig if network in ("sigmoid_mlp", "inception") else TextDataConfig
        if found := field_of(name, parts | {"data": data, "network": schema}):
            return network, found
    if found := field_of(name, {one.name: one.type for one in fields(EvolutionConfig) if is_dataclass(one.type)}):
        return "evolution", found
    raise KeyError(name)


HOMES = {name: home_of(name) for name in EVERY_KNOB}
KNOBS = {name: one for name, (_, one) in HOMES.items() if name not in ("experiment", "arm", "name", "tier")}
NOT_OF = {
    bool: ("2", "0", "1", "yes", "on", "null", "[true]", "'true'", "1.0"),
    int: ("1.5", "two", "'5'", "true", "[1]", "1e3", "{a:1}", "--5", "0x10", "5,", "\uff15", "null"),
    float: ("fast", "true", "[1]", "'0.5'", "{a:1}", "nan", "inf", "-inf", "0.5.5", "1e400", "\uff10.5"),
    str: ("null", "[a]", "{a:b}", "true", "''", '" "', "a\nb", "a\x1bb"),
    list: ("50", "[[50]]", "[a]", "[50", "{50:1}", "null", "[true]", "[nan]"),
}
MISTYPED_BOUNDS = (("low", -1), ("above", 0), ("high", 1), ("below", 0))  # the nearest whole number that is out of range


def line_for(name: str) -> tuple[str, ...]:
    """Return a right line of a run that has a knob, without that knob."""
    return tuple(override for override in LINES_OF[HOMES[name][0]] if override.split("=")[0] != name)


def kind_of(one) -> type:
    """Return the type of a knob's values, without None."""
    kinds = get_args(one.type) if isinstance(one.type, types.UnionType) else (get_origin(one.type) or one.type,)
    return kinds[0]


def wrong_types() -> Iterator[tuple[str, ...]]:
    for name, one in KNOBS.items():
        for value in NOT_OF[kind_of(one)]:
            if value != "null" or type(None) not in get_args(one.type):
                yield (*line_for(name), f"{name}={value}")


def out_of_range() -> Iterator[tuple[str, ...]]:
    for name, one in KNOBS.items():
        for bound, beyond in MISTYPED_BOUNDS:
            limit = one.metadata[bound]
            if limit is not None:
                value = limit + beyond if limit < 1e30 else 10 * limit
                yield (*line_for(name), f"{name}={[value] if kind_of(one) is list else value}".replace(" ", ""))
        if one.metadata["choices"]:
            for value in (f"{one.metadata['choices'][0]}x", "x", one.metadata["choices"][0].upper(), f"[{one.metadata['choices'][0]}]"):
                yield (*line_for(name), f"{name}={value}")


def wrong_forms() -> Iterator[tuple[str, ...]]:
    """Every knob: misspelt, added, deleted, elsewhere, empty, twice, without =; of another network; swept without -m."""
    for name in KNOBS:
        value = "1"
        forms = (f"+{name}={value}", f"++{name}={value}", f"~{name}", f"~{name}={value}", f"{name}=", f"{name}", f"{name}@x={value}")
        yield from ((*line_for(name), form) for form in forms)
        yield (*line_for(name), f"{name}x={value}")
        yield (*line_for(name), f"{name}={value}", f"{name}={value}")
        yield (*line_for(name), f"{name}={value},{value}0")
        yield (*line_for(name), f"{name} ={value}")
    for network, schema in NETWORKS.items():
        others = {name for other in NETWORKS.values() for name in knobs_of(other)} - set(knobs_of(schema))
        yield from ((*LINES_OF[network], f"network.{name}=1") for name in sorted(others))
    yield from ((*SMOKE, f"{form}=1") for form in ("name", "tier", "train", "data", "foo", "a.b", "train.", ".lr", "a b", "", "="))


def wrong_groups() -> Iterator[tuple[str, ...]]:
    for group, choice in (("data", "mnist"), ("network", "inception"), ("arm", "bn_x5"), ("experiment", "mnist_sigmoid/smoke")):
        kept = tuple(override for override in SMOKE if not override.startswith(f"{group}="))
        values = (
            f"{choice}x",
            f"[{choice}]",
            "null",
            "",
            "../data/mnist",
            "/etc/passwd",
            f"'{choice} '",
            f"{{{choice}:1}}",
            f"glob({choice}*)",
        )
        yield from ((*kept, f"{group}={value}") for value in values)
        yield (*kept, f"{group}@other={choice}")
        yield ("-m", *kept, f"{group}={choice},{choice}")
    yield (*SMOKE, "size=inception_quick")
    yield (*SMOKE, "arm=bn_x5")


def wrong_flags() -> Iterator[tuple[str, ...]]:
    line = SMOKE
    hydras = ("--hydra-help", "--version", "--resolve", "--package=x", "-p", "--run", "-r", "--config-path=x", "-cp", "--config-name=x",
              "--config-dir=/tmp", "-cd", "--experimental-rerun=x", "--info", "-i", "--info=all", "--multi", "--mutlirun", "-x", "--",
              "---", "--cfg", "--cfg=all", "--cfg=hydra", "-c", "-sc", "--shell-completion")  # fmt: skip
    yield from ((*line, flag) for flag in hydras if flag != "--")
    yield from ((*line, "--cfg", value) for value in ("all", "hydra", "", "jobs"))
    yield from (
        ("-sc", *words) for words in ((), ("install",), ("install=csh",), ("bash",), ("install=bash", "query=bash"), ("remove=bash",))
    )
    yield ("-m", "--cfg", "job", "--cfg", "job", *line)


def wrong_sweeps() -> Iterator[tuple[str, ...]]:
    line = ("-m", *line_for("seed"))
    for value in ("interval(0,1)", "glob(*)", "range(0,0)", "range(0,1e12)", "range(0,5,0)", "range(0,inf)", "choice()", "choice(1", "0,0",
                  "shuffle(0,0)", "sort(2,1,2)", "foo(1,2)", "tag(a,1,2)", "0,,1", ",0", "0,a", "0,-1", "1,2,18446744073709551616",
                  "range(nan,1)", "range(0,5,-1)", "0;1", "[0,1],[2]", "choice(0,choice(1,2))"):  # fmt: skip
        yield (*line, f"seed={value}")
    yield ("-m", *line_for("norm"), "norm=none,btch")
    yield ("-m", *line_for("norm"), "norm=")
    yield ("-m", "experiment=mnist_sigmoid/smoke,mnist_sigmoid/quick")
    for knob in ("threads=1,2", "wandb.mode=offline,disabled", "results_folder=a,b", "data.folder=a,b", "train.checkpoint_every=1,2"):
        yield ("-m", *SMOKE, knob)
    yield ("-m", *SMOKE, *(f"{knob}=range(1,100)" for knob in ("train.steps", "network.width", "network.depth")))


def wrong_hydras() -> Iterator[tuple[str, ...]]:
    line = ("-m", *SMOKE)
    for override in ("hydra.run.dir=x", "hydra.sweep.dir=x", "hydra.sweep.subdir=x", "hydra.mode=RUN", "hydra.job.chdir=true",
                     "hydra.verbose=true", "hydra.sweeper.params.seed=1", "hydra/sweeper=basic", "hydra/launcher=jobli",
                     "hydra/launcher=", "hydra/launcher=basic,joblib", "hydra.launcher.n_jobs=2", "hydra.output_subdir=x", "hydra=x",
                     "hydra/job_logging=default", "hydra.searchpath=[x]"):  # fmt: skip
        yield (*line, override)
    for knob in ("n_jobs=0", "n_jobs=100000", "n_jobs=-2", "n_jobs=two", "n_jobs=1,2", "n_job=1", "n_jobs=", "verbose=x", "timeout=x"):
        yield (*line, "hydra/launcher=joblib", f"hydra.launcher.{knob}")


def wrong_folders() -> Iterator[tuple[str, ...]]:
    places = ("''", '"  "', "/dev/null", "/dev/null/x", "/proc/x", "/proc/self/x", "/sys/x", "/dev/x", "~/x", "x" * 300, "x/" * 2000 + "x",
              "\u200b", "a\tb")  # fmt: skip
    for knob, place in itertools.product(("results_folder", "data.folder"), places):
        yield (*SMOKE, f"{knob}={place}")
    yield from ((*SMOKE, "wandb.mode=offline", f"wandb.folder={place}") for place in places)
    yield from ((*SMOKE, f"wandb.project={name}") for name in ("a/b", "a#b", "a?b", "a%b", "x" * 129))
    yield from ((*SMOKE, f"wandb.entity={name}") for name in ("''", "a/b"))
    yield (*SMOKE, "train.lr=" + "1" * 9000)


def what_does_not_go_together() -> Iterator[tuple[str, ...]]:
    """What each value alone might be, and a whole config, or this machine, cannot."""
    sigmoid_mlp = (
        "network=inception", "network.name=inception", "network.norm=layer", "network.init_std=null", "network.width=1000000",
        "data=cifar10 network=inception network.stem_stride=16 network.stem=separable", "data.num_classes=5", "data.num_classes=1000",
        "train.batch_size=1", "train.batch_size=2000", "data.evaluate_on=validation data.validation_size=1200",
        "data.evaluate_on=validation data.validation_size=0", "data.evaluate_on=validation data.validation_size=1150 train.batch_size=60",
        "data.image_size=64", "data.colour_jitter=0.4", "data.crop_padding=28", "data.name=image_folder",
        "train.trainable='((.+)+)+x'", "train.lr=1e39", "train.weight_decay=1e39",
        "probe.batch_size=601", "probe.batch_size=1000000", "data.evaluate_size=601", "probe.num_layers=5", "probe.num_layers=1000",
        "probe.num_units=101", "probe.every=7", "probe.gradient_shift_every=15", "train.eval_every=7", "probe.percentiles=[]",
        "probe.percentiles=[15,85]", "probe.percentiles=[50,50]", "train.sync_bn=true", "device=gpu", "device=cuda:", "device=cuda:\uff10",
        "device=mps", "device=CPU", "threads=100000", "threads=1025", "train.trainable=nope", "train.trainable=weight",
        "train.trainable='('", "train.trainable='x{99999999999}'", "train.trainable='[[a]'", "train.trainable=" + "a" * 5000,
        "train.trainable='" + "hidden.0.affine.weight|" * 20 + "'", "train.final_lr_ratio=0.5", "network.init=xavier network.init_std=0.2",
        "norm=layer network.norm_momentum=0.5", "norm=none network.norm_eps=0.1", "norm=none network.keep_bias=true", "data.workers=4",
        "data.validation_size=300", "data.split_seed=1", "probe.every=0 probe.num_units=3", "base.lr=0.5", "train.lr=${nope}",
        "train.lr=${train.lr}", "train.lr=${train.momentum}", "train.lr=${oc.env:NO_SUCH_VARIABLE}", "train.lr=${times:1}", "train.lr=???",
        "seed=${seed}", "controls=[]", "data=image_folder", "data=imagenet", "train.row_spacing=1", "train.stop_at_chance=60",
        "network.drop_rate=1", "data.evaluate_training=0", "data.evaluate_training=1201", "data.kept_predictions=601",
        "data.crop_scales=[40]", "data.kept_predictions=10 data.crop_scales=[40]", "network.init_gain=2",
        "train.steps=20 data.is_reshuffled=false",
        "data=synthetic_colour data.binarize_at=0.5 data.colour_jitter=0.1", "probe.step_cost_every=10 train.is_compiled=true",
    )  # fmt: skip
    for overrides in sigmoid_mlp:
        names = {override.split("=")[0] for override in overrides.split()}
        yield (*(o for o in SMOKE if o.split("=")[0] not in names), *overrides.split())
    for overrides in ("data.num_labels=7", "data.num_labels=400", "data.training_size=300", "data.training_size=50 data.num_labels=60",
                      "data.validation_size=300", "network.head_drops=[0.1]",
                      "data=mnist", "data.name=mnist", "data.num_classes=3", "network.encoder=null", "network.encoder=a",
                      "train.unfreeze_every=10", "train.trainable=nothing", "train.batch_size=1"):  # fmt: skip
        yield (*LINES_OF["text_classifier"], *overrides.split())
    for overrides in ("norm=batch", "data.num_labels=10", "probe.jacobian_every=10", "probe.step_cost_every=10", "train.layer_lr_ratio=0.5",
                      "network=sigmoid_mlp"):  # fmt: skip
        yield (*LINES_OF["language_model"], *overrides.split())
    for overrides in ("train.lr=0.5", "train.steps=5", "probe.batch_size=7", "network.penalties=[]", "norm=batch"):
        yield (*LINES_OF["bag_of_words"], *overrides.split())
    for overrides in ("network.per_activation_size=7", "data=synthetic", "network=sigmoid_mlp network.width=0.5",
                      "network.stem=separable network.stem_stride=12", "base.drop_rate=0.3", "network.width=16.5",
                      "data.kept_predictions=5 data.crop_scales=[31]", "network.init_gain=0"):  # fmt: skip
        yield (*LINES_OF["inception"], *overrides.split())
    for overrides in ("game.name=pomg", "network.norm=group", "train.population=7", "train.truncation=2", "train.algorithm=ga",
                      "train.lr=null", "probe.every=1 probe.policies=5", "train.eval_every=2 probe.every=3", "data=mnist",
                      "network=inception", "data.name=mnist", "base.lr=1", "train.batch_size=5", "probe.policies=6",
                      "train.steps=0 train.population=6", "norm=group"):  # fmt: skip
        yield (*LINES_OF["evolution"], *overrides.split())
    yield ("experiment=evolution_curves/smoke", "arm=ga_none", "seed=0", "train.population=8")
    yield ("experiment=evolution_curves/smoke", "arm=ga_none", "seed=0", "norm=batch")
    yield ("kind=evolution", "norm=none", "seed=0")
    yield (*SMOKE, "game.name=pong")
    yield (*SMOKE, "kind=evolution")
    yield ("norm=batch", "seed=0")
    yield ("train.lr=1", "seed=0")
    yield ("train.lr=1", "norm=batch")
    yield ()


KINDS = (
    wrong_types, out_of_range, wrong_forms, wrong_groups, wrong_flags, wrong_sweeps, wrong_hydras, wrong_folders, what_does_not_go_together,
)  # fmt: skip
LINES = {kind.__name__: list(dict.fromkeys(kind())) for kind in KINDS}
