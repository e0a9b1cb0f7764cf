"""Every knob of a run: its name, type, unit, range and meaning. The values are in configs/; none is here.

This file and the command line's checks load no torch, so that a mistake is answered at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

TIERS = ("smoke", "quick", "long", "gpu", "imagenet")
DATASETS = ("mnist", "fashion_mnist", "cifar10", "synthetic", "synthetic_colour", "image_folder", "imdb", "synthetic_text")
NETWORKS = ("sigmoid_mlp", "inception", "language_model", "text_classifier", "bag_of_words")
VIRTUAL_NORMS = ("virtual_batch", "virtual_batch_with_example")
NORMS = ("none", "batch", "outside_gradient", "outside_gradient_center", "layer", "group", "noisy_batch", "noisy_none", *VIRTUAL_NORMS)
NONLINEARITIES = ("sigmoid", "tanh", "relu", "identity", "normalized_tanh")
INITS = ("gaussian", "he", "xavier")
STEMS = ("separable", "dense", "pooled", "small")
SCHEDULES = ("constant", "exponential", "cosine", "slanted_triangular")
OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("float32", "bfloat16")
MOST = 1_000_000_000  # of what is counted: steps, examples
LARGEST_SEED = 2**64 - 1  # that torch takes
LARGEST_RATE = 3.4e38  # that float32 takes
BATCH_STATISTIC_NORMS = ("batch", "outside_gradient", "outside_gradient_center", "noisy_batch")


def knob(
    meaning: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
    changes_result: bool = True,
) -> Any:
    """Declare a field without default: low <= value <= high, above < value < below, or one of the choices."""
    bounds = {"low": low, "high": high, "above": above, "below": below}
    return field(metadata={"meaning": meaning, **bounds, "choices": choices, "unit": unit, "changes_result": changes_result})


def knobs() -> Any:
    """Declare a field that holds knobs of its own."""
    return field()


@dataclass
class DataConfig:
    name: str = knob("dataset", choices=DATASETS)
    folder: str = knob("where datasets are kept; of image_folder the one with train/<class>/ and val/<class>/", changes_result=False)
    num_classes: int = knob("kinds of examples", low=2, high=1_000_000)
    validation_size: int = knob("training examples set apart for validation", low=0, high=MOST, unit="examples")
    split_seed: int = knob("seed of the choice of validation examples", low=0, high=LARGEST_SEED)
    evaluate_on: str = knob("which examples accuracy is measured on", choices=("validation", "test"))
    evaluate_size: int | None = knob(
        "the first so many of them during training; null takes all, as the last measurement does", low=1, high=MOST, unit="examples"
    )
    evaluate_batch: int = knob("examples of one forward pass of an evaluation", low=1, high=100_000, unit="examples", changes_result=False)


@dataclass
class NetworkConfig:
    name: str = knob("architecture", choices=NETWORKS)
    norm: str = knob("what stands before every nonlinearity, or in a text classifier's head", choices=NORMS)
    norm_eps: float = knob("epsilon added to the variance", above=0)
    norm_momentum: float = knob("weight of the newest batch in the moving averages (1 - decay)", above=0, high=1)


@dataclass
class TrainConfig:
    steps: int = knob("number of training steps", low=1, high=MOST, unit="steps")
    batch_size: int = knob("examples of a step, of all ranks together", low=1, high=MOST, unit="examples")
    sync_bn: bool = knob("let the batch norms of all ranks share their statistics, instead of each taking its part of the batch")
    lr: float = knob("initial learning rate", above=0, high=LARGEST_RATE)
    optimizer: str = knob("update rule", choices=OPTIMIZERS)
    momentum: float = knob("momentum of SGD; of AdamW beta_1", low=0, high=1)
    beta_2: float = knob("decay of AdamW's mean square of gradients", low=0, below=1)
    weight_decay: float = knob("L2 coefficient; of AdamW the decoupled decay", low=0, high=LARGEST_RATE)
    clip_norm: float | None = knob("l2 norm to which a larger gradient is scaled; null leaves it", above=0, high=LARGEST_RATE)
    schedule: str = knob("how the learning rate changes", choices=SCHEDULES)
    warmup: float = knob("share of the steps in which slanted_triangular rises to lr", above=0, below=1)
    final_lr_ratio: float = knob("last over first learning rate, unless constant; of slanted_triangular, over the highest", above=0, high=1)
    layer_lr_ratio: float = knob("learning rate of a text classifier's layer over that of the next layer; 1 is off", above=0, high=1)
    unfreeze_every: int = knob(
        "steps after which one more layer of a text classifier trains, from the head down; 0 is off", low=0, high=MOST, unit="steps"
    )
    precision: str = knob("number format of forward and backward passes; weights stay float32", choices=PRECISIONS)
    is_compiled: bool = knob("compile the network's passes; with CUDA graphs on a GPU")
    trainable: str = knob("regular expression of the parameters that train; the others stay as initialized")
    eval_every: int = knob("steps between two rows of metrics", low=1, high=MOST, unit="steps")
    row_spacing: float | None = knob(
        "most by which early rows are apart, as a share of their step, until eval_every is closer; null adds none", above=0, below=1
    )
    first_spaced_row: int = knob("step of the first row that row_spacing adds", low=1, high=MOST, unit="steps")
    stop_at_chance: int | None = knob(
        "step from which a row of metrics whose accuracy is at chance ends the run; null never", low=1, high=MOST, unit="steps"
    )
    checkpoint_every: int = knob("steps between two checkpoints", low=1, high=MOST, unit="steps", changes_result=False)
    population_batches: int = knob(
        "training batches for the population statistics of Algorithm 2", low=1, high=MOST, unit="training batches"
    )
    reference_size: int = knob(
        "training examples that are the reference batch of a virtual batch norm", low=2, high=MOST, unit="training examples"
    )


@dataclass
class BaseConfig:
    """What the plain Inception of a tier uses, so that the arms of section 4.2.1 can be multiples of it."""

    lr: float | None = knob("its learning rate", above=0, high=LARGEST_RATE)
    weight_decay: float = knob("its L2 coefficient", low=0, high=LARGEST_RATE)
    final_lr_ratio: float = knob("its last over first learning rate", above=0, high=1)
    drop_rate: float = knob("its dropout before the classifier", low=0, below=1)
    colour_jitter: float = knob("its photometric distortions, of colour images", low=0, high=1)


@dataclass
class ProbeConfig:
    every: int = knob("steps between two activation records; 0 records none", low=0, high=MOST, unit="steps")
    batch_size: int = knob("examples of the fixed probe batch", low=2, high=MOST, unit="examples")
    percentiles: list[float] = knob("which percentiles", low=0, high=100, unit="%")
    num_units: int = knob("units of each layer whose own percentiles are recorded", low=1, high=1_000_000, unit="units")
    histogram_bins: int = knob("bins of the fixed-edge histogram", low=2, high=100_000, unit="bins")
    gradient_shift_every: int = knob("steps between two measurements of the gradient shift; 0 makes none", low=0, high=MOST, unit="steps")
    landscape_every: int = knob(
        "steps between two measurements of the loss along the gradient; 0 makes none", low=0, high=MOST, unit="steps"
    )
    jacobian_every: int = knob("steps between two measurements of layer Jacobians; 0 makes none", low=0, high=MOST, unit="steps")
    magnitudes_every: int = knob(
        "steps between two measurements of how large activations and gradients are; 0 makes none", low=0, high=MOST, unit="steps"
    )
    step_cost_every: int = knob(
        "steps between two measurements of a step's time and memory beside those without norms and dropout; 0 makes none",
        low=0,
        high=MOST,
        unit="steps",
    )
    num_layers: int = knob("layers, spread over the depth, whose gradient shift and Jacobian are measured", low=2, high=MOST, unit="layers")


@dataclass
class WandbConfig:
    mode: str = knob("where Weights & Biases mirrors the run", choices=("online", "offline", "disabled"), changes_result=False)
    project: str = knob("W&B project", changes_result=False)
    entity: str | None = knob("W&B user or team; null is the login's", changes_result=False)
    folder: str = knob("where offline W&B runs are kept", changes_result=False)


@dataclass
class RunConfig:
    """What runs of all kinds have; each kind adds its own, and last `wandb`."""

    experiment: str = knob("name of the experiment")
    tier: str = knob("size of the experiment", choices=TIERS)
    arm: str = knob("name of what is compared")
    name: str = knob("last part of the run's address", changes_result=False)
    norm: str = knob("shorthand for network.norm", choices=NORMS)
    seed: int = knob("seed of all that is drawn: initial weights, the order of examples, perturbations", low=0, high=LARGEST_SEED)
    device: str = knob("torch device")
    threads: int = knob("CPU threads of a run", low=1, high=1_024, unit="threads", changes_result=False)
    results_folder: str = knob("where runs are recorded", changes_result=False)
    if TYPE_CHECKING:  # each kind has its own
        network: Any = knobs()
        train: Any = knobs()
        wandb: WandbConfig = knobs()

    @property
    def kind(self) -> str:
        """Name who does the run."""
        raise NotImplementedError

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Return (dataset, folder) of what must be there before the run."""
        return ()

    @property
    def num_processes(self) -> int:
        """Count those beside the run's own."""
        return 0

    @property
    def extra(self) -> tuple[str, str] | None:
        """Return (module, extra of this package that brings it) of what not every installation has."""
        return None

    def written(self, measure: float) -> str:
        """Write the newest of what a run is to make large."""
        raise NotImplementedError


@dataclass
class Config(RunConfig):
    """A run that trains a network on examples."""

    data: DataConfig = knobs()
    network: NetworkConfig = knobs()
    train: TrainConfig = knobs()
    base: BaseConfig = knobs()
    probe: ProbeConfig = knobs()
    wandb: WandbConfig = knobs()

    @property
    def kind(self) -> str:
        return "bag_of_words" if self.network.name == "bag_of_words" else "supervised"

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        return ((self.data.name, self.data.folder),)

    @property
    def num_processes(self) -> int:
        return getattr(self.data, "workers", 0)

    def written(self, measure: float) -> str:
        return f"{100 * measure:.2f} %"


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield (dotted name, value, metadata) of every knob."""
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from walk(value, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, value, dict(one.metadata)


def differences(config: RunConfig, recorded: dict[str, Any]) -> list[str]:
    """List the knobs that change results and differ from a record's flat `{dotted name: value}`.

    A knob that did not exist when the record was made is not compared.
    """
    return [
        f"{name}: {recorded[name]} recorded, {value} asked for"
        for name, value, metadata in walk(config)
        if metadata["changes_result"] and name in recorded and recorded[name] != value
    ]
