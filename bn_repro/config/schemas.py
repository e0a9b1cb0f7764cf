"""Which knobs a run has, by the kind of its data and of its network."""

from dataclasses import Field, fields, is_dataclass

from bn_repro.config import Config, DataConfig, ImageDataConfig, InceptionConfig, NetworkConfig, SigmoidMLPConfig
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
            found |= knobs_of(one.type, f"{name}.") if is_dataclass(one.type) else {name: one}
    return found


KNOBS = knobs_of(Config)


def fields_of(name: str, data: type[DataConfig], network: type[NetworkConfig]) -> Field | None:
    """Return the field of a knob of a run with such data and such a network; None if it is one of other kinds."""
    part, _, own = name.partition(".")
    schema = {"data": data, "network": network}.get(part) if own else None
    return knobs_of(schema).get(own) if schema else KNOBS.get(name)
