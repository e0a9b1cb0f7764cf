"""What a command line asks for: every mistake in it found before torch is loaded, every grid spelled out."""

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bn_repro.config import Config, InceptionConfig, SigmoidMLPConfig, check, nearest, walk

CONFIGS = Path(__file__).parent.parent / "configs"
MAIN_CONFIG = "train"
CONTROL, SECOND_NETWORK = (
    "_control",
    "_inception",
)  # a grid of Hydra's is one product, so an experiment on two networks has a second file, for Inception
MOST_POINTS = 12  # of a grid that is checked whole; each takes some 30 ms


def register_schema() -> None:
    """Tell Hydra the name and type of every knob, so that a mistyped one in a file is an error."""
    # Section 4.2.1 states the arms as multiples: ${times:5,${base.lr}}, ${power:${base.final_lr_ratio},6}.
    OmegaConf.register_new_resolver("times", lambda factor, value: factor * value, replace=True)
    OmegaConf.register_new_resolver("power", lambda value, exponent: value**exponent, replace=True)
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="network", name="sigmoid_mlp_schema", node=SigmoidMLPConfig)
    store.store(group="network", name="inception_schema", node=InceptionConfig)


@contextmanager
def hydra_ready() -> Iterator[None]:
    register_schema()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def to_config(composed: DictConfig) -> Config:
    """Convert once to plain dataclasses and check them.

    Raises:
        ValueError: one line that names the knob.
    """
    missing = [name for name in knob_names(composed) if OmegaConf.is_missing(*parent_and_key(composed, name))]
    if missing:
        raise ValueError(f"{missing[0]} has no value; give {missing[0]}=VALUE, or an experiment that sets it")
    try:
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ValueError(first_line(error)) from error
    check(config)
    return config


def run_name(config: Config, overrides: Sequence[str]) -> str:
    """Return `<arm>-s<seed>` and every other override that changes results, in alphabetical order."""
    spoken = {"experiment", "arm", "seed", "name"} | {
        name for name, _, metadata in walk(config) if not metadata.get("changes_result", True)
    }
    if config.arm == config.norm:
        spoken.add("norm")
    others = sorted(override for override in overrides if override.split("=")[0] not in spoken)
    return ",".join([f"{config.arm}-s{config.seed}", *others]).replace("/", "_")


def experiments(tier: str | None = None) -> list[str]:
    """List `<name>/<tier>` of the experiment files, of one tier or of all."""
    return sorted(
        str(path.relative_to(CONFIGS / "experiment").with_suffix("")) for path in CONFIGS.glob(f"experiment/*/{tier or '*'}.yaml")
    )


def on_all_networks(experiment: str) -> list[str]:
    """List an experiment `<name>/<tier>` and, if it has one, its second file, for Inception."""
    name, _, tier = experiment.rpartition("/")
    control = CONTROL if name.endswith(CONTROL) else ""
    second = f"{name.removesuffix(CONTROL)}{SECOND_NETWORK}{control}/{tier}"
    return [experiment, *([second] if (CONFIGS / "experiment" / f"{second}.yaml").exists() else [])]


def command_lines(arguments: Sequence[str]) -> list[list[str]]:
    """Return what a command line stands for: itself, or with -m of an experiment on two networks one for each.

    `network=` picks one of the two.
    """
    flags, unknown = get_args_parser().parse_known_args(list(arguments))
    values = dict(override.split("=", 1) for override in flags.overrides if "=" in override)
    names = on_all_networks(values.get("experiment", "")) if flags.multirun else []
    if len(names) < 2 or unknown or len(values) < len(flags.overrides):  # a mistake, which is told of the line as it is
        return [list(arguments)]
    by_network = {"sigmoid_mlp": names[0], "inception": names[1]}
    chosen = [by_network[values["network"]]] if values.get("network") in by_network else names
    picks = {f"experiment={names[0]}", f"network={values.get('network')}"} if len(chosen) == 1 else {f"experiment={names[0]}"}
    others = [argument for argument in arguments if argument not in picks]
    return [[*others, f"experiment={name}"] for name in chosen]


def refuse_mistakes_of_all(lines: Sequence[Sequence[str]]) -> None:
    """Check the command lines that one stands for.

    Raises:
        ValueError: one line that names the mistake, and the network that it is about.
    """
    for line in lines:
        try:
            refuse_mistakes(line)
        except ValueError as error:
            about = f" (of {line[-1]}; network=sigmoid_mlp or inception picks one network)" if len(lines) > 1 else ""
            raise ValueError(f"{error}{about}") from error


def grid(experiment: str) -> list[list[str]]:
    """Spell out an experiment's own grid: the overrides of each of its runs."""
    overrides = parsed([f"{name}={values}" for name, values in swept(experiment).items()])
    return [[f"experiment={experiment}", *point] for point in itertools.product(*map(values_of, overrides))]


def swept(experiment: str) -> dict[str, Any]:
    """Return the knobs and values that an experiment file sweeps."""
    return yaml.safe_load((CONFIGS / "experiment" / f"{experiment}.yaml").read_text())["hydra"]["sweeper"]["params"]


def configs_of(experiment: str, extra: Sequence[str] = ()) -> list[Config]:
    """Compose every run of an experiment's grid; `extra` overrides that change no result come on top."""
    composed_of: dict[tuple[str, ...], DictConfig] = {}  # by choices of groups: composing is slow, setting a value is not
    configs = []
    with hydra_ready():
        for overrides in grid(experiment):
            groups = tuple(o for o in overrides if (CONFIGS / o.split("=")[0]).is_dir())
            if groups not in composed_of:
                composed_of[groups] = compose(MAIN_CONFIG, overrides=[*groups, *extra])
            point = copy.deepcopy(composed_of[groups])
            for override in parsed([o for o in overrides if o not in groups]):
                OmegaConf.update(point, override.key_or_group, override.value())
            config = to_config(point)
            config.name = run_name(config, overrides)
            configs.append(config)
    return configs


def refuse_mistakes(arguments: Sequence[str]) -> None:
    """Check a training command line before anything is loaded or written.

    Raises:
        ValueError: one line that names the mistake and the nearest valid choice.
    """
    flags, unknown = get_args_parser().parse_known_args(list(arguments))
    if unknown:
        raise ValueError(f"{unknown[0]}: there is no such flag; --help lists them")
    if flags.help or flags.hydra_help or flags.cfg or flags.info:
        return
    overrides = parsed(flags.overrides)
    refuse_forms(overrides, flags.multirun)
    with hydra_ready():
        # Hydra's own groups have choices of plugins, too; composing checks them.
        is_group = {o.key_or_group: (CONFIGS / o.key_or_group).is_dir() and not o.key_or_group.startswith("hydra/") for o in overrides}
        for override in overrides:
            if is_group[override.key_or_group]:
                refuse_choice(override)
        groups = [values_of(o)[0] for o in overrides if is_group[o.key_or_group]]
        names = knob_names(compose_or_explain(groups))
        for override in overrides:
            name = override.key_or_group
            if not (is_group[name] or name in names or name.startswith(("hydra.", "hydra/"))):
                raise ValueError(f"{override.input_line}: there is no knob {name}{nearest(name, [*names, *group_names()])}")
        knobs = [o for o in overrides if not o.key_or_group.startswith(("hydra.", "hydra/"))]
        hydras = [o.input_line for o in overrides if o not in knobs]
        for point in points_to_check({**own_grid(overrides), **{o.key_or_group: values_of(o) for o in knobs}}):
            to_config(compose_or_explain([*point, *hydras]))


def refuse_forms(overrides: Sequence[Override], is_multirun: bool) -> None:
    """Refuse what Hydra accepts in silence: additions, deletions, empty values, repeats, a sweep over experiments."""
    seen = set()
    for override in overrides:
        name, text = override.key_or_group, override.input_line
        if override.is_add() or override.is_force_add():
            raise ValueError(f"{text}: nothing can be added; leave the + out to change {name}{nearest(name, knob_names_of_schema())}")
        if override.is_delete():
            raise ValueError(f"{text}: nothing can be deleted; give {name} another value")
        if override.value() in ("", None) and text.endswith("="):
            raise ValueError(f"{text}: {name} has no value{nearest(name, knob_names_of_schema())}")
        if name == "name":
            raise ValueError(f"{text}: the name is made from the other overrides; leave it out")
        if name in seen:
            raise ValueError(f"{text}: {name} is given twice")
        if name == "experiment" and override.is_sweep_override():
            raise ValueError(f"{text}: sweep one experiment at a time; the grids inside several would be ignored")
        if override.is_sweep_override() and not is_multirun and name.split("/")[0].split(".")[0] != "hydra":
            raise ValueError(f"{text}: several values need -m before them")
        seen.add(name)


def refuse_choice(override: Override) -> None:
    group = override.key_or_group
    choices = sorted(str(path.relative_to(CONFIGS / group).with_suffix("")) for path in (CONFIGS / group).rglob("*.yaml"))
    for value in values_of(override):
        choice = value.split("=", 1)[1]
        if choice not in choices:
            raise ValueError(f"{group}={choice} is not a choice{nearest(choice, choices)}; choices: {', '.join(choices)}")


def values_of(override: Override) -> list[str]:
    """Return `name=value` for each value of a plain or sweeping override."""
    name = override.key_or_group
    if override.is_sweep_override():
        return [f"{name}={value}" for value in override.sweep_string_iterator()]
    return [f"{name}={override.get_value_element_as_str()}"]


def own_grid(overrides: Sequence[Override]) -> dict[str, list[str]]:
    """Return the values of the chosen experiment's own grid, by knob; empty without an experiment."""
    chosen = [values_of(o)[0].split("=", 1)[1] for o in overrides if o.key_or_group == "experiment"]
    return (
        {o.key_or_group: values_of(o) for o in parsed([f"{name}={values}" for name, values in swept(chosen[0]).items()])} if chosen else {}
    )


def points_to_check(values: dict[str, list[str]]) -> list[tuple[str, ...]]:
    """Return all points of a small grid; of a large one, every value beside the first values of the others."""
    if math.prod(map(len, values.values())) <= MOST_POINTS:
        return list(itertools.product(*values.values()))
    firsts = {name: options[0] for name, options in values.items()}
    return [tuple({**firsts, name: value}.values()) for name, options in values.items() for value in options]


def parsed(overrides: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    found = []
    for override in overrides:
        try:
            found.append(parser.parse_override(override))
        except HydraException as error:
            raise ValueError(f"{override}: not of the form name=value ({first_line(error)})") from error
    return found


def compose_or_explain(overrides: list[str]) -> DictConfig:
    try:
        return compose(MAIN_CONFIG, overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        cause: Any = error.__cause__ or error
        raise ValueError(f"{first_line(error)} ({first_line(cause)})" if cause is not error else first_line(error)) from error


def parent_and_key(composed: DictConfig, name: str) -> tuple[DictConfig, str]:
    *parents, key = name.split(".")
    for parent in parents:
        composed = composed[parent]
    return composed, key


def knob_names(composed: DictConfig) -> list[str]:
    names: list[str] = []
    for name in composed:
        node = composed._get_node(name)
        names += [f"{name}.{part}" for part in knob_names(node)] if isinstance(node, DictConfig) else [str(name)]
    return names


def knob_names_of_schema(schema: type = Config, prefix: str = "") -> list[str]:
    names: list[str] = []
    for one in fields(schema):
        names += knob_names_of_schema(one.type, f"{prefix}{one.name}.") if is_dataclass(one.type) else [prefix + one.name]
    return names


def group_names() -> list[str]:
    return [path.name for path in CONFIGS.iterdir() if path.is_dir()]


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
