"""Which configs of trainings cannot be meant: values out of range, parts that do not go together, knobs that would be without effect."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import fields

from bn_repro.checks.architecture import last_map_side, layer_names, parameter_names
from bn_repro.checks.examples import EXAMPLES, TEXTS, check_examples, num_evaluated, num_training
from bn_repro.checks.values import shown, told
from bn_repro.config import BATCH_STATISTIC_NORMS, VIRTUAL_NORMS, Config, NetworkConfig
from bn_repro.config.images import ImageDataConfig, ImageNetworkConfig, InceptionConfig
from bn_repro.config.schemas import NETWORKS
from bn_repro.config.text import BagOfWordsConfig, LanguageModelConfig, TextClassifierConfig, TextDataConfig

CADENCES = ("every", "gradient_shift_every", "landscape_every", "jacobian_every", "magnitudes_every", "step_cost_every")


def check_together(config: Config) -> None:
    """Refuse values that are each in their range and do not go together.

    Raises:
        ValueError: one line that names the knob, its value and what it may be.
    """
    data, network, train = config.data, config.network, config.train
    if network.norm in BATCH_STATISTIC_NORMS and train.batch_size < 2:
        raise ValueError(f"train.batch_size={train.batch_size} has no variance; norm={network.norm} needs at least 2")
    if train.sync_bn and not config.device.startswith("cuda"):
        raise ValueError(f"train.sync_bn=true needs device=cuda, not {config.device}; torch synchronizes batch norms on GPUs alone")
    check_percentiles(config.probe.percentiles)
    check_cadences(config)
    if not isinstance(network, NETWORKS[network.name]):
        raise ValueError(f"network.name={network.name} has other knobs; network={network.name} brings them")
    if isinstance(data, TextDataConfig) != (data.name in TEXTS):
        raise ValueError(f"data.name={data.name} has other knobs; data={data.name} brings them")
    if isinstance(data, ImageDataConfig) != isinstance(network, ImageNetworkConfig):
        raise ValueError(f"network={network.name} cannot read data.name={data.name}")
    if isinstance(network, ImageNetworkConfig):
        assert isinstance(data, ImageDataConfig)
        check_images(data, network)
    else:
        assert isinstance(data, TextDataConfig) and isinstance(network, BagOfWordsConfig | LanguageModelConfig | TextClassifierConfig)
        network.check(data)
    check_examples(config)
    if not getattr(network, "has_layer_groups", False):
        for name, value, off in (("layer_lr_ratio", train.layer_lr_ratio, 1), ("unfreeze_every", train.unfreeze_every, 0)):
            if value != off:
                raise ValueError(f"train.{name}={value} needs network.name=text_classifier with network.is_frozen=false")
    check_trainable(network, train.trainable)


def check_percentiles(percentiles: list[float]) -> None:
    """Refuse percentiles whose middle one is not the median that every measure of drift follows."""
    written = f"probe.percentiles=[{','.join(f'{p:g}' for p in percentiles)}]"
    if not percentiles:
        raise ValueError(f"{written} is empty; the paper's are [15,50,85]")
    if percentiles != sorted(set(percentiles)):
        raise ValueError(f"{written} must ascend: [{','.join(f'{p:g}' for p in sorted(set(percentiles)))}]")
    if len(percentiles) < 3 or len(percentiles) % 2 == 0 or percentiles[len(percentiles) // 2] != 50:
        raise ValueError(f"{written} must have 50, the median, in the middle of as many lower as higher ones; the paper's are [15,50,85]")


def check_cadences(config: Config) -> None:
    """Refuse probes between two rows of metrics, and those of layers that a language model does not call."""
    for name in CADENCES:
        cadence = getattr(config.probe, name)
        if cadence % config.train.eval_every:
            raise ValueError(f"probe.{name}={cadence} must be a multiple of train.eval_every={config.train.eval_every}")
        if cadence and config.network.name == "language_model" and name in ("jacobian_every", "magnitudes_every"):
            raise ValueError(f"probe.{name}={cadence}: a language model calls no layer as a module that could be measured; 0 makes none")
    if config.probe.step_cost_every and config.train.is_compiled:
        raise ValueError(f"probe.step_cost_every={config.probe.step_cost_every} times uncompiled passes; it needs train.is_compiled=false")
    if config.probe.step_cost_every and not isinstance(config.network, ImageNetworkConfig):
        raise ValueError(f"probe.step_cost_every={config.probe.step_cost_every} needs a network of images, not {config.network.name}")


def check_images(data: ImageDataConfig, network: ImageNetworkConfig) -> None:
    """Refuse knobs that would be without effect, as on images of a folder those of images in memory; and images of another shape."""
    if network.init == "gaussian" and network.init_std is None:
        raise ValueError("network.init=gaussian needs network.init_std")
    is_grey = data.name != "image_folder" and len(EXAMPLES[data.name].shape) == 2
    of_folders = {"image_size": data.image_size} | ({"colour_jitter": data.colour_jitter} if is_grey else {})
    names = ("binarize_at", "crop_padding", "evaluate_training", "kept_predictions", "crop_scales")
    of_memory = {name: getattr(data, name) for name in names}
    is_folder = data.name == "image_folder"
    for name, value in (of_memory if is_folder else of_folders).items():
        if value:
            raise ValueError(f"data.{name}={value} has no effect on data.name={data.name}")
    if is_folder and data.image_size is None:
        raise ValueError("data.name=image_folder needs data.image_size")
    shape = EXAMPLES[data.name].shape if data.image_size is None else (3, data.image_size, data.image_size)
    if data.crop_padding >= shape[-1]:
        raise ValueError(f"data.crop_padding={data.crop_padding} shifts images of {shape[-1]} pixels out of sight")
    if data.binarize_at is not None and data.colour_jitter:
        raise ValueError(f"data.colour_jitter={data.colour_jitter} changes colours that data.binarize_at={data.binarize_at} takes away")
    if data.crop_scales and (len(shape) < 3 or min(data.crop_scales) < shape[-1]):
        wanted = f"at least {shape[-1]}, the side of an image" if len(shape) == 3 else "[] of grey images"
        raise ValueError(f"data.crop_scales=[{','.join(map(str, data.crop_scales))}] must be {wanted}")
    if isinstance(network, InceptionConfig):
        check_inception(network, shape, data.name)


def check_inception(network: InceptionConfig, shape: tuple[int, ...], data: str) -> None:
    if len(shape) < 3:
        coloured = " or ".join(name for name, examples in EXAMPLES.items() if len(examples.shape) == 3)
        raise ValueError(f"network=inception takes colour images, and those of {data} are grey; data={coloured} has them")
    if network.nonlinearity == "normalized_tanh":
        raise ValueError(
            "network.nonlinearity=normalized_tanh takes layers as wholes, and those of network=inception are shared; take tanh"
        )
    side = last_map_side(network, shape[-1])
    if side < 1:
        stem = f"network.stem={network.stem} and network.stem_stride={network.stem_stride}"
        raise ValueError(f"{stem} leave nothing of images of {shape[-1]} pixels")
    if network.per_activation_size not in (None, side):
        raise ValueError(f"network.per_activation_size={network.per_activation_size}, but the maps of module 5b have side {side} here")


def check_trainable(network: NetworkConfig, pattern: str) -> None:
    """Refuse a pattern that is none, or that matches no parameter."""
    try:
        with warnings.catch_warnings(action="ignore"):
            expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"train.trainable={shown(pattern)} is no regular expression: {error}") from error
    if network.name != "bag_of_words" and not any(map(expression.fullmatch, parameter_names(network))):
        raise ValueError(f"train.trainable={shown(pattern)} matches no parameter; {told(pattern, parameter_names(network))}")


def too_many(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (knob, why) of what asks for more than there is; all that there is would then be taken."""
    data, network, probe = config.data, config.network, config.probe
    if data.name in EXAMPLES:
        number = num_evaluated(data)
        there = f"the {number} {data.evaluate_on} examples of {data.name}"
        if probe.batch_size > number:
            yield "probe.batch_size", f"is more than {there}"
        if (data.evaluate_size or 0) > number:
            yield "data.evaluate_size", f"is more than {there}"
        if (getattr(data, "kept_predictions", None) or 0) > number:
            yield "data.kept_predictions", f"is more than {there}"
        if (getattr(data, "evaluate_training", None) or 0) > num_training(config):
            yield "data.evaluate_training", f"is more than the {num_training(config)} training examples of {data.name}"
    if not isinstance(network, ImageNetworkConfig):
        return
    layers = layer_names(network)
    if probe.num_layers > len(layers):
        yield "probe.num_layers", f"is more than the {len(layers)} layers of the network"
    width = getattr(network, "width", None)
    if isinstance(width, int) and probe.num_units > width:
        yield "probe.num_units", f"is more than the {width} units of a layer"


def without_effect(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (knob, with what) of what changes nothing in this config."""
    data, network, train, probe = config.data, config.network, config.train, config.probe
    if train.schedule == "constant":
        yield "train.final_lr_ratio", "with train.schedule=constant"
    if isinstance(network, ImageNetworkConfig) and network.init != "gaussian":
        yield "network.init_std", f"with network.init={network.init}"
    if isinstance(network, ImageNetworkConfig) and network.init == "gaussian":
        yield "network.init_gain", "with network.init=gaussian"
    if train.schedule != "slanted_triangular":
        yield "train.warmup", f"with train.schedule={train.schedule}"
    if train.optimizer != "adamw":
        yield "train.beta_2", f"with train.optimizer={train.optimizer}"
    if network.name == "bag_of_words":
        names = [f"{part}.{one.name}" for part, schema in (("train", train), ("probe", probe)) for one in fields(schema)]
        yield from ((name, "with network=bag_of_words") for name in names)
    if (train.stop_at_chance or 0) >= train.steps:
        yield "train.stop_at_chance", f"with train.steps={train.steps}"
    is_bare = network.norm in ("none", "noisy_none")
    for name, is_used in (
        ("norm_eps", not is_bare),
        ("norm_momentum", network.norm in BATCH_STATISTIC_NORMS),
        ("keep_bias", network.norm in ("batch", "noisy_batch", *VIRTUAL_NORMS)),  # others leave the bias where it is
        ("per_activation_size", not is_bare),
    ):
        if not is_used:
            yield f"network.{name}", f"with norm={network.norm}"
    if network.norm not in VIRTUAL_NORMS:
        yield "train.reference_size", f"with norm={network.norm}"
    if data.name in EXAMPLES and train.steps * train.batch_size <= num_training(config):
        yield "data.is_reshuffled", f"with train.steps={train.steps}, less than an epoch"
    if getattr(data, "kept_predictions", None) is None:
        yield "data.crop_scales", "with data.kept_predictions=null"
    if data.name != "image_folder":
        yield "data.workers", f"with data.name={data.name}"
    if data.evaluate_on == "test" and isinstance(data, ImageDataConfig):
        yield "data.validation_size", "with data.evaluate_on=test"
    if data.evaluate_on == "test" and isinstance(data, ImageDataConfig) and data.name != "image_folder":
        yield "data.split_seed", "with data.evaluate_on=test"
    if not probe.every:
        yield from ((f"probe.{name}", "with probe.every=0") for name in ("percentiles", "num_units", "histogram_bins"))
    if not probe.gradient_shift_every and not probe.jacobian_every:
        yield "probe.num_layers", "with probe.gradient_shift_every=0 and probe.jacobian_every=0"
