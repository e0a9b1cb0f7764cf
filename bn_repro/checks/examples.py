"""How many examples each dataset has, and which configs ask for more than there are."""

from typing import NamedTuple

from bn_repro.config import VIRTUAL_NORMS, Config, DataConfig
from bn_repro.config.images import ImageDataConfig
from bn_repro.config.text import TextDataConfig

STREAMING = ("language_model", "bag_of_words")  # networks of which a batch is not so many examples


class ExampleSet(NamedTuple):
    """What a dataset is: the shape of an image as a network sees it, () of texts, and how many examples there are.

    Args:
        num_test: 0 where a seed cuts them from the others.
    """

    shape: tuple[int, ...]  # (H, W) or (C, H, W)
    num_training: int
    num_test: int
    num_classes: int = 10


EXAMPLES = {
    "mnist": ExampleSet((28, 28), 60_000, 10_000),
    "fashion_mnist": ExampleSet((28, 28), 60_000, 10_000),
    "cifar10": ExampleSet((3, 32, 32), 50_000, 10_000),
    "synthetic": ExampleSet((28, 28), 1_200, 600),
    "synthetic_colour": ExampleSet((3, 32, 32), 1_200, 200),
    "imdb": ExampleSet((), 24_902, 0, 2),
    "synthetic_text": ExampleSet((), 400, 0, 2),
}  # of a folder of images nothing is known
TEXTS = tuple(name for name, examples in EXAMPLES.items() if not examples.shape)


def check_examples(config: Config) -> None:
    """Refuse a split or a batch that asks for more examples than there are, and another number of their kinds."""
    data, known = config.data, EXAMPLES.get(config.data.name)
    if data.evaluate_on == "validation" and data.validation_size == 0:
        raise ValueError("data.evaluate_on=validation needs data.validation_size above 0")
    if not known:
        return
    if data.num_classes != known.num_classes:
        raise ValueError(f"data.num_classes={data.num_classes}, but {data.name} has {known.num_classes} kinds of examples")
    number = num_training(config)
    if number < 1:
        sizes = "data.validation_size" if isinstance(data, ImageDataConfig) else "data.validation_size + data.test_size"
        raise ValueError(f"{sizes}={known.num_training - number} leaves none of the {known.num_training} training examples of {data.name}")
    if isinstance(data, TextDataConfig) and (data.training_size or 0) > number:
        raise ValueError(
            f"data.training_size={data.training_size} is more than the {number} texts of {data.name} that are left to train on"
        )
    number = getattr(data, "training_size", None) or number
    num_labels = getattr(data, "num_labels", None) or number
    if num_labels > number or (num_labels < number and num_labels % data.num_classes):
        raise ValueError(f"data.num_labels={num_labels} cannot be drawn from {number} texts; it must be a multiple of {data.num_classes}")
    number = num_labels
    if config.network.name not in STREAMING and config.train.batch_size > number:
        raise ValueError(f"train.batch_size={config.train.batch_size} is more than the {number} training examples of {data.name}")
    if config.network.norm in VIRTUAL_NORMS and config.train.reference_size > number:
        raise ValueError(f"train.reference_size={config.train.reference_size} is more than the {number} training examples of {data.name}")


def num_training(config: Config) -> int:
    """Count the examples that are left to train on; less than 1 if there are none."""
    data, number = config.data, EXAMPLES[config.data.name].num_training
    if isinstance(data, TextDataConfig):
        return number - data.validation_size - data.test_size
    return number - data.validation_size if data.evaluate_on == "validation" else number


def num_evaluated(data: DataConfig) -> int:
    if data.evaluate_on == "validation":
        return data.validation_size
    return data.test_size if isinstance(data, TextDataConfig) else EXAMPLES[data.name].num_test
