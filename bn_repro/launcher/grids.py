"""Which runs an experiment file asks for: every grid spelled out, composed by Hydra and checked."""

import copy
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bn_repro.config import Config, ImageDataConfig, InceptionConfig, RunConfig, SigmoidMLPConfig, check, walk
from bn_repro.config.evolution import EvolutionConfig
from bn_repro.config.text import BagOfWordsConfig, LanguageModelConfig, TextClassifierConfig, TextDataConfig
from bn_repro.records.files import SHIPPED
from bn_repro.records.record import address_of

CONFIGS = SHIPPED / "configs"
MAIN_CONFIG = "train"
CONTROLS = "controls"  # of an experiment file: further grids, since one of Hydra's is one product


SCHEMAS = (Config, EvolutionConfig)


@dataclass
class Composed(Config):
    """What Hydra composes: the knobs of a run, and an experiment's further grids, which are no run's."""

    controls: list[dict[str, str]] = field()


@dataclass
class ComposedEvolution(EvolutionConfig):
    """The same of a run of evolution."""

    controls: list[dict[str, str]] = field()


def register_schema() -> None:
    """Tell Hydra the name and type of every knob, so that a mistyped one in a file is an error."""
    # Section 4.2.1 states the arms as multiples: ${times:5,${base.lr}}, ${power:${base.final_lr_ratio},6}.
    OmegaConf.register_new_resolver("times", lambda factor, value: factor * value, replace=True)
    OmegaConf.register_new_resolver("power", lambda value, exponent: value**exponent, replace=True)
    store = ConfigStore.instance()
    store.store(group="kind", name="supervised_schema", node=Composed, package="_global_")
    store.store(group="kind", name="evolution_schema", node=ComposedEvolution, package="_global_")
    store.store(group="data", name="image_schema", node=ImageDataConfig)
    store.store(group="data", name="text_schema", node=TextDataConfig)
    store.store(group="network", name="sigmoid_mlp_schema", node=SigmoidMLPConfig)
    store.store(group="network", name="inception_schema", node=InceptionConfig)
    store.store(group="network", name="bag_of_words_schema", node=BagOfWordsConfig)
    store.store(group="network", name="language_model_schema", node=LanguageModelConfig)
    store.store(group="network", name="text_classifier_schema", node=TextClassifierConfig)


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
    except OmegaConfBaseException as error:
        raise ValueError(first_line(error)) from error
    (schema,) = (schema for schema in SCHEMAS if isinstance(config, schema))
    config = schema(**{one.name: getattr(config, one.name) for one in fields(schema)})
    check(config)
    return config


def run_name(config: RunConfig, overrides: Sequence[str]) -> str:
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


def needed_run(config: RunConfig) -> str | None:
    """Return the address of the run whose result this one starts from: of a text classifier, its language model's."""
    return getattr(config.network, "encoder", None)


def with_needed_runs(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Add those runs of other experiments that some start from."""
    missing = {needed_run(config) for config in configs} - {address_of(config) for config in configs} - {None}
    owners = sorted({address.rpartition("/")[0] for address in missing})
    return [*(config for name in owners for config in configs_of(name) if address_of(config) in missing), *configs]


def values_of(override: Override) -> list[str]:
    """Return `name=value` for each value of a plain or sweeping override."""
    name = override.key_or_group
    if override.is_sweep_override():
        return [f"{name}={value}" for value in override.sweep_string_iterator()]
    return [f"{name}={override.get_value_element_as_str()}"]


def parsed(overrides: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    found = []
    for override in overrides:
        try:
            found.append(parser.parse_override(override))
        except HydraException as error:
            raise ValueError(f"{override}: not of the form name=value ({first_line(error)})") from error
    return found


def parent_and_key(composed: DictConfig, name: str) -> tuple[DictConfig, str]:
    *parents, key = name.split(".")
    for parent in parents:
        composed = composed[parent]
    return composed, key


def knob_names(composed: DictConfig) -> list[str]:
    names: list[str] = []
    for name in composed:
        if name == CONTROLS:
            continue
        node = composed._get_node(name)
        names += [f"{name}.{part}" for part in knob_names(node)] if isinstance(node, DictConfig) else [str(name)]
    return names


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
