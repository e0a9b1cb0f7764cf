"""Every knob of a run: its name, type, unit, range and meaning. The values are in configs/; none is here.

This file and the command line's checks load no torch, so that a mistake is answered at once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bn_repro.config.knobs import check_value, differences, knob, nearest, walk
from bn_repro.config.runs import NORMS, PRECISIONS, TIERS, VIRTUAL_NORMS, LoopConfig, RunConfig, WandbConfig

__all__ = [
    "NORMS",
    "PRECISIONS",
    "TIERS",
    "VIRTUAL_NORMS",
    "LoopConfig",
    "RunConfig",
    "WandbConfig",
    "check",
    "check_value",
    "differences",
    "knob",
    "nearest",
    "walk",
]  # and all that is declared here

DATASETS = ("mnist", "fashion_mnist", "cifar10", "synthetic", "synthetic_colour", "image_folder", "imdb", "synthetic_text")
NETWORKS = ("sigmoid_mlp", "inception", "language_model", "text_classifier", "bag_of_words")
NONLINEARITIES = ("sigmoid", "tanh", "relu", "identity")
INITS = ("gaussian", "he", "xavier")
STEMS = ("separable", "dense", "pooled", "small")
SCHEDULES = ("constant", "exponential", "cosine", "slanted_triangular")
OPTIMIZERS = ("sgd", "adamw")
BATCH_STATISTIC_NORMS = ("batch", "outside_gradient", "outside_gradient_center", "noisy_batch")


@dataclass
class DataConfig:
    name: str = knob("dataset", choices=DATASETS)
    folder: str = knob("where datasets are kept; of image_folder the one with train/<class>/ and val/<class>/", changes_result=False)
    num_classes: int = knob("kinds of examples", low=2)
    validation_size: int = knob("training examples set apart for validation", low=0)
    split_seed: int = knob("seed of the choice of validation examples", low=0)
    evaluate_on: str = knob("which examples accuracy is measured on", choices=("validation", "test"))
    evaluate_size: int | None = knob("the first so many of them during training; null takes all, as the last measurement does", low=1)
    evaluate_batch: int = knob("examples of one forward pass of an evaluation", low=1, changes_result=False)


@dataclass
class ImageDataConfig(DataConfig):
    image_size: int | None = knob("side of the square to which images of a folder are cropped; null of images in memory", low=32)
    colour_jitter: float = knob("most by which brightness, contrast and saturation of images of a folder change, as a factor", low=0)
    workers: int = knob("processes that decode images of a folder; 0 decodes in the training process", low=0, changes_result=False)
    binarize_at: float | None = knob("grey level in [0, 1) above which a pixel is 1; null keeps grey", low=0, below=1)
    crop_padding: int = knob("pixels by which training images are shifted at most", low=0)
    has_flips: bool = knob("mirror training images at random")


@dataclass
class NetworkConfig:
    name: str = knob("architecture", choices=NETWORKS)
    norm: str = knob("what stands before every nonlinearity, or in a text classifier's head", choices=NORMS)
    norm_eps: float = knob("epsilon added to the variance", above=0)
    norm_momentum: float = knob("weight of the newest batch in the moving averages (1 - decay)", above=0, high=1)


@dataclass
class ImageNetworkConfig(NetworkConfig):
    nonlinearity: str = knob("the nonlinearity g", choices=NONLINEARITIES)
    init: str = knob("distribution of the initial weights", choices=INITS)
    init_std: float | None = knob("standard deviation of gaussian initial weights; null with another init", above=0)


@dataclass
class SigmoidMLPConfig(ImageNetworkConfig):
    depth: int = knob("number of hidden layers", low=1)
    width: int = knob("units of a hidden layer", low=1)
    keep_bias: bool = knob("keep the bias that the norm's beta subsumes")


@dataclass
class InceptionConfig(ImageNetworkConfig):
    stem: str = knob("what stands before the modules", choices=STEMS)
    stem_stride: int = knob("stride of the first convolution", low=1)
    width: float = knob("factor of all numbers of filters", above=0)
    projection_4c_4d: int = knob("filters of the pool projection of 4c and 4d: 128 as printed, 96 to match the printed outputs", low=8)
    has_lrn: bool = knob("local response normalization in the stem")
    drop_rate: float = knob("dropout before the classifier", low=0, high=1)
    per_activation_size: int | None = knob("side of the maps of module 5b, if its norms take each activation by itself", low=1)
    merge_reductions: bool = knob("run the 1x1 convolutions of one input as one")


@dataclass
class TrainConfig(LoopConfig):
    batch_size: int = knob("examples of a step, of all ranks together", low=1)
    sync_bn: bool = knob("let the batch norms of all ranks share their statistics, instead of each taking its part of the batch")
    lr: float = knob("initial learning rate", above=0)
    optimizer: str = knob("update rule", choices=OPTIMIZERS)
    momentum: float = knob("momentum of SGD; of AdamW beta_1", low=0, high=1)
    beta_2: float = knob("decay of AdamW's mean square of gradients", low=0, below=1)
    weight_decay: float = knob("L2 coefficient; of AdamW the decoupled decay", low=0)
    clip_norm: float | None = knob("l2 norm to which a larger gradient is scaled; null leaves it", above=0)
    schedule: str = knob("how the learning rate changes", choices=SCHEDULES)
    warmup: float = knob("share of the steps in which slanted_triangular rises to lr", above=0, below=1)
    final_lr_ratio: float = knob("last over first learning rate, unless constant; of slanted_triangular, over the highest", above=0, high=1)
    layer_lr_ratio: float = knob("learning rate of a text classifier's layer over that of the next layer; 1 is off", above=0, high=1)
    unfreeze_every: int = knob("steps after which one more layer of a text classifier trains, from the head down; 0 is off", low=0)
    precision: str = knob("number format of forward and backward passes; weights stay float32", choices=PRECISIONS)
    is_compiled: bool = knob("compile the network's passes; with CUDA graphs on a GPU")
    trainable: str = knob("regular expression of the parameters that train; the others stay as initialized")
    population_batches: int = knob("training batches for the population statistics of Algorithm 2", low=1)
    reference_size: int = knob("training examples that are the reference batch of a virtual batch norm", low=2)


@dataclass
class BaseConfig:
    """What the plain Inception of a tier uses, so that the arms of section 4.2.1 can be multiples of it."""

    lr: float | None = knob("its learning rate", above=0)
    weight_decay: float = knob("its L2 coefficient", low=0)
    final_lr_ratio: float = knob("its last over first learning rate", above=0, high=1)
    drop_rate: float = knob("its dropout before the classifier", low=0, high=1)
    colour_jitter: float = knob("its photometric distortions, where images are in a folder", low=0)


@dataclass
class ProbeConfig:
    every: int = knob("steps between two activation records; 0 records none", low=0)
    batch_size: int = knob("examples of the fixed probe batch", low=2)
    percentiles: list[float] = knob("which percentiles", low=0, high=100)
    num_units: int = knob("units of each layer whose own percentiles are recorded", low=1)
    histogram_bins: int = knob("bins of the fixed-edge histogram", low=2)
    gradient_shift_every: int = knob("steps between two measurements of the gradient shift; 0 makes none", low=0)
    landscape_every: int = knob("steps between two measurements of the loss along the gradient; 0 makes none", low=0)
    jacobian_every: int = knob("steps between two measurements of layer Jacobians; 0 makes none", low=0)
    magnitudes_every: int = knob("steps between two measurements of how large activations and gradients are; 0 makes none", low=0)
    num_layers: int = knob("layers, spread over the depth, whose gradient shift and Jacobian are measured", low=2)


@dataclass
class Config(RunConfig):
    data: DataConfig = field()
    network: NetworkConfig = field()
    train: TrainConfig = field()
    base: BaseConfig = field()
    probe: ProbeConfig = field()
    wandb: WandbConfig = field()

    @property
    def kind(self) -> str:
        return "bag_of_words" if self.network.name == "bag_of_words" else "supervised"

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        return ((self.data.name, self.data.folder),)

    def check_together(self) -> None:
        check_training(self)

    def shown(self, measure: float) -> str:
        return f"{100 * measure:.2f} %"

    def result(self, summary: Mapping[str, Any]) -> str:
        reached = f"perplexity {summary['perplexity']:.1f}" if "perplexity" in summary else self.shown(summary["accuracy"])
        return f"{reached} after {summary['steps']} steps"


def check(config: RunConfig) -> None:
    """Refuse a config that cannot be meant.

    Raises:
        ValueError: one line that names the knob, its value and what it may be.
    """
    for name, value, metadata in walk(config):
        check_value(name, value, metadata)
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", config.device):
        raise ValueError(f"device={config.device} is not a device; choices: cpu, cuda, cuda:N, mps")
    config.check_together()


def check_training(config: Config) -> None:
    """Refuse knobs of data, network and training that do not go together."""
    data, network, train = config.data, config.network, config.train
    if network.norm in BATCH_STATISTIC_NORMS and train.batch_size < 2:
        raise ValueError(f"train.batch_size={train.batch_size} has no variance; norm={network.norm} needs at least 2")
    check_percentiles(config.probe.percentiles)
    try:
        re.compile(train.trainable)
    except re.error as error:
        raise ValueError(f"train.trainable={train.trainable} is no regular expression: {error}") from error
    for name in ("every", "gradient_shift_every", "landscape_every", "jacobian_every", "magnitudes_every"):
        cadence = getattr(config.probe, name)
        if cadence % train.eval_every:
            raise ValueError(f"probe.{name}={cadence} must be a multiple of train.eval_every={train.eval_every}")
        if cadence and network.name == "language_model" and name in ("jacobian_every", "magnitudes_every"):
            raise ValueError(f"probe.{name}={cadence}: a language model calls no layer as a module that could be measured; 0 makes none")
    if data.evaluate_on == "validation" and data.validation_size == 0:
        raise ValueError("data.evaluate_on=validation needs data.validation_size above 0")
    if isinstance(data, ImageDataConfig) != isinstance(network, ImageNetworkConfig):
        raise ValueError(f"network.name={network.name} cannot read data.name={data.name}")
    if isinstance(network, ImageNetworkConfig):
        check_images(data, network)
    else:
        network.check(data)
    if not getattr(network, "has_layer_groups", False):
        for name, value, off in (("layer_lr_ratio", train.layer_lr_ratio, 1), ("unfreeze_every", train.unfreeze_every, 0)):
            if value != off:
                raise ValueError(f"train.{name}={value} needs network.name=text_classifier with network.is_frozen=false")
    if train.sync_bn and not config.device.startswith("cuda"):
        raise ValueError(f"train.sync_bn=true needs device=cuda, not {config.device}; torch synchronizes batch norms on GPUs alone")


def check_percentiles(percentiles: list[float]) -> None:
    """Refuse percentiles whose middle one is not the median that every measure of drift follows."""
    written = f"probe.percentiles=[{','.join(f'{p:g}' for p in percentiles)}]"
    if not percentiles:
        raise ValueError(f"{written} is empty; the paper's are [15,50,85]")
    if percentiles != sorted(set(percentiles)):
        raise ValueError(f"{written} must ascend: [{','.join(f'{p:g}' for p in sorted(set(percentiles)))}]")
    if len(percentiles) < 3 or len(percentiles) % 2 == 0 or percentiles[len(percentiles) // 2] != 50:
        raise ValueError(f"{written} must have 50, the median, in the middle of as many lower as higher ones; the paper's are [15,50,85]")


def check_images(data: ImageDataConfig, network: ImageNetworkConfig) -> None:
    """Refuse knobs that would be without effect: images of a folder are not altered as those in memory are."""
    if network.init == "gaussian" and network.init_std is None:
        raise ValueError("network.init=gaussian needs network.init_std")
    of_folders = {"image_size": data.image_size, "colour_jitter": data.colour_jitter}
    of_memory = {"binarize_at": data.binarize_at, "crop_padding": data.crop_padding}
    is_folder = data.name == "image_folder"
    for name, value in (of_memory if is_folder else of_folders).items():
        if value:
            raise ValueError(f"data.{name}={value} has no effect on data.name={data.name}")
    if is_folder and data.image_size is None:
        raise ValueError("data.name=image_folder needs data.image_size")
