"""Which knobs a run has, by its kind and that of its data and of its network."""

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass

from bn_repro.config import Config, DataConfig, NetworkConfig, RunConfig
from bn_repro.config.evolution import EvolutionConfig
from bn_repro.config.images import ImageDataConfig, InceptionConfig, SigmoidMLPConfig
from bn_repro.config.text import BagOfWordsConfig, LanguageModelConfig, TextClassifierConfig, TextDataConfig

DATA: dict[str, type[DataConfig]] = {"image": ImageDataConfig, "text": TextDataConfig}  # by kind
NETWORKS: dict[str, type[NetworkConfig]] = {
    "sigmoid_mlp": SigmoidMLPConfig,
    "inception": InceptionConfig,
    "language_model": LanguageModelConfig,
    "text_classifier": TextClassifierConfig,
    "bag_of_words": BagOfWordsConfig,
}
KINDS: dict[type, dict[str, type]] = {DataConfig: DATA, NetworkConfig: NETWORKS}


def knobs_of(schema: type, prefix: str = "") -> dict[str, Field]:
    """Return every knob of a schema by its dotted name; below `data.` and `network.` those of all kinds."""
    found: dict[str, Field] = {}
    for one in fields(schema):
        name = prefix + one.name
        if one.type in KINDS:
            found |= {knob: each for kind in KINDS[one.type].values() for knob, each in knobs_of(kind, f"{name}.").items()}
        else:
            found |= knobs_of(one.type, f"{name}.") if isinstance(one.type, type) and is_dataclass(one.type) else {name: one}
    return found


RUNS: tuple[type[RunConfig], ...] = (Config, EvolutionConfig)
KNOBS = knobs_of(EvolutionConfig) | knobs_of(Config)  # of a name that several kinds have, the first kind's


def field_of(name: str, parts: Mapping[str, type]) -> Field | None:
    """Return the field of a knob of a run; None if runs of other kinds have it, or none.

    Args:
        parts: the schema of each part of the run, as `data` and `train`.
    """
    part, _, own = name.partition(".")
    if own:
        return knobs_of(parts[part]).get(own) if part in parts else None
    return next((one for one in fields(RunConfig) if one.name == name), None)
