"""Which runs an experiment file asks for: every grid spelled out, composed by Hydra and checked."""

import copy
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bn_repro.checks.runs import check
from bn_repro.checks.values import LONGEST_NAME, nearest, shown
from bn_repro.config import Config, RunConfig, knobs, walk
from bn_repro.config.evolution import EvolutionConfig
from bn_repro.config.schemas import DATA, NETWORKS, RUNS
from bn_repro.records.files import SHIPPED
from bn_repro.records.record import address_of

CONFIGS = SHIPPED / "configs"
MAIN_CONFIG = "train"
SEED = "seed="
CONTROLS = "controls"  # of an experiment file: further grids, since one of Hydra's is one product


@dataclass
class ComposedTraining(Config):
    """What Hydra composes: the knobs of a run, and an experiment's further grids, which are no run's."""

    controls: list[dict[str, str]] = knobs()


@dataclass
class ComposedEvolution(EvolutionConfig):
    controls: list[dict[str, str]] = knobs()


def register_schema() -> None:
    """Tell Hydra the name and type of every knob, so that a mistyped one in a file is an error."""
    # Section 4.2.1 states the arms as multiples: ${times:5,${base.lr}}, ${power:${base.final_lr_ratio},6}.
    OmegaConf.register_new_resolver("times", lambda factor, value: factor * value, replace=True)
    OmegaConf.register_new_resolver("power", lambda value, exponent: value**exponent, replace=True)
    store = ConfigStore.instance()
    for kind, composed in (("supervised", ComposedTraining), ("evolution", ComposedEvolution)):
        store.store(group="kind", name=f"{kind}_schema", package="_global_", node=composed)
    groups: tuple[tuple[str, Mapping[str, type]], ...] = (("data", DATA), ("network", NETWORKS))
    for part, schemas in groups:
        for name, schema in schemas.items():
            store.store(group=part, name=f"{name}_schema", node=schema)


@contextmanager
def hydra_ready() -> Iterator[None]:
    register_schema()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def to_config(composed: DictConfig) -> RunConfig:
    """Convert once to plain dataclasses and check them.

    Raises:
        ValueError: one line that names the knob.
    """
    missing = [name for name in knob_names(composed) if OmegaConf.is_missing(*parent_and_key(composed, name))]
    if missing:
        raise ValueError(f"{missing[0]} has no value; give {missing[0]}=VALUE, or an experiment that sets it")
    try:
        config = OmegaConf.to_object(composed)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ValueError(f"{getattr(error, 'full_key', None) or 'a knob'}: {first_line(error)}") from error
    kind = next(schema for schema in RUNS if isinstance(config, schema))
    config = kind(**{one.name: getattr(config, one.name) for one in fields(kind)})
    check(config)
    return config


def run_name(config: RunConfig, overrides: Sequence[str]) -> str:
    """Return `<arm>-s<seed>` and every other override that changes results, in alphabetical order.

    Raises:
        ValueError: no folder can be called so.
    """
    spoken = {"experiment", "arm", "seed", "name"} | {
        name for name, _, metadata in walk(config) if not metadata.get("changes_result", True)
    }
    if config.arm == config.norm:
        spoken.add("norm")
    others = sorted(override for override in overrides if override.split("=")[0] not in spoken)
    name = ",".join([f"{config.arm}-s{config.seed}", *others]).replace("/", "_")
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise ValueError(
            f"the run would be called {shown(name)}, and a folder's name has at most {LONGEST_NAME} bytes, not {len(os.fsencode(name))}; "
            "an experiment file may hold what all runs share"
        )
    return name


def arm_of(config: RunConfig) -> str:
    """Return `<experiment>/<arm>`, as in the run's address."""
    return f"{config.experiment}/{config.arm.replace('/', '_')}"


def experiments(tier: str | None = None) -> list[str]:
    """List `<name>/<tier>` of the experiment files, of one tier or of all."""
    return sorted(
        str(path.relative_to(CONFIGS / "experiment").with_suffix("")) for path in CONFIGS.glob(f"experiment/*/{tier or '*'}.yaml")
    )


def grid(experiment: str) -> list[list[str]]:
    """Spell out an experiment's own grids, the sweep and the controls: the overrides of each of its runs."""
    points = []
    for values_by_knob in (swept(experiment), *experiment_file(experiment).get(CONTROLS, [])):
        overrides = parsed([f"{name}={values}" for name, values in values_by_knob.items()])
        points += [[f"experiment={experiment}", *point] for point in itertools.product(*map(values_of, overrides))]
    return points


def swept(experiment: str) -> dict[str, Any]:
    """Return the knobs and values that an experiment file sweeps."""
    return experiment_file(experiment)["hydra"]["sweeper"]["params"]


def experiment_file(experiment: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / "experiment" / f"{experiment}.yaml").read_text())


def configs_of(experiment: str, extra: Sequence[str] = ()) -> list[RunConfig]:
    """Compose every run of an experiment's grid; `extra` overrides that change no result come on top.

    Composing is slow: of runs that differ in their seed alone it is done once.
    """
    configs = []
    of_first_seed: dict[tuple[str, ...], RunConfig] = {}
    for overrides in grid(experiment):
        others = tuple(override for override in overrides if not override.startswith(SEED))
        if others in of_first_seed:
            configs.append(with_seed_of(of_first_seed[others], overrides))
        else:
            configs.append(of_first_seed.setdefault(others, config_of(overrides, extra)))
    return configs


def with_seed_of(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Return the config of a run that differs in its seed alone, on which no other knob depends."""
    (seed,) = (override.removeprefix(SEED) for override in overrides if override.startswith(SEED))
    config = replace(copy.deepcopy(config), seed=int(seed))
    check(config)
    config.name = run_name(config, overrides)
    return config


def config_of(overrides: Sequence[str], extra: Sequence[str] = ()) -> RunConfig:
    """Compose and check one run, and name it by its overrides; `extra` ones change no result.

    Raises:
        ValueError: one line that names the knob.
    """
    groups = tuple(o for o in overrides if is_group(o.split("=")[0]))
    point = copy.deepcopy(composed(groups))
    names = set(knob_names(point))
    for override in parsed([o for o in [*overrides, *extra] if o not in groups]):
        name = override.key_or_group
        if name not in names:
            raise ValueError(f"{override.input_line}: there is no knob {name}{nearest(name, names)}")
        try:
            OmegaConf.update(point, name, override.value())
        except OmegaConfBaseException as error:
            raise ValueError(f"{override.input_line}: {first_line(error)}") from error
    config = to_config(point)
    config.name = run_name(config, overrides)
    return config


@cache
def composed(groups: tuple[str, ...]) -> DictConfig:
    """Compose choices of groups; composing is slow, setting a value is not. The result is shared: change a copy.

    Raises:
        ValueError: one line.
    """
    with hydra_ready():
        try:
            return compose(MAIN_CONFIG, overrides=list(groups))
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(first_line(error)) from error


def is_group(name: str) -> bool:
    """Say whether a name is that of a group of configs, such as `data`, of which one file is chosen."""
    return "/" not in name and name != "hydra" and (CONFIGS / name).is_dir()


def needed_run(config: RunConfig) -> str | None:
    """Return the address of the run whose result this one starts from: of a text classifier, its language model's."""
    return getattr(config.network, "encoder", None)


def with_needed_runs(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Add those runs of other experiments that some start from."""
    needed = {address for config in configs if (address := needed_run(config))}
    missing = needed - {address_of(config) for config in configs}
    owners = sorted({address.rpartition("/")[0] for address in missing})
    return [*(config for name in owners for config in configs_of(name) if address_of(config) in missing), *configs]


def values_of(override: Override) -> list[str]:
    """Return `name=value` for each value of a plain or sweeping override."""
    name = override.key_or_group
    if override.is_sweep_override():
        return [f"{name}={value}" for value in override.sweep_string_iterator()]
    return [f"{name}={override.get_value_element_as_str()}"]


def parsed(overrides: Sequence[str]) -> list[Override]:
    return [parsed_override(override) for override in overrides]


@cache
def parsed_override(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError, ValueError) as error:
        reason = first_line(error).split(" expecting ")[0]  # a list of the grammar's own words
        raise ValueError(f"{shown(text)}: not of the form name=value ({reason}); quotes in quotes keep what is special") from error


def parent_and_key(composed: DictConfig, name: str) -> tuple[DictConfig, str]:
    *parents, key = name.split(".")
    for parent in parents:
        composed = composed[parent]
    return composed, key


def knob_names(composed: DictConfig) -> list[str]:
    names: list[str] = []
    for name in map(str, composed):
        if name == CONTROLS:
            continue
        node = composed._get_node(name)
        names += [f"{name}.{part}" for part in knob_names(node)] if isinstance(node, DictConfig) else [name]
    return names


def first_line(error: BaseException) -> str:
    """Return the first line of what Hydra or OmegaConf says, and the one that it announces."""
    lines = str(error).strip().split("\n")
    announced = lines[1:2] if lines[0].endswith(":") else []
    cause = [first_line(error.__cause__)] if isinstance(error.__cause__, OmegaConfBaseException) else []
    return " ".join([lines[0], *(announced or cause)])
