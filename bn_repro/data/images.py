"""Which images a step sees: the whole set in memory, the batch of step t a pure function of (seed, t)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bn_repro.config import DataConfig
from bn_repro.data.fetch import fetch

NUM_CLASSES = 10


@dataclass(frozen=True)
class Images:
    """Hold examples as uint8 and hand them out as floats in [0, 1].

    Args:
        pixels: (N, H, W) uint8; of binary images 0 or 255.
        labels: (N,) int64.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (B, H, W) float32 and y (B,) int64."""
        pixels = self.pixels.index_select(0, index)  # several times faster than pixels[index]
        return pixels.float().div_(255), self.labels.index_select(0, index)

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the examples from `start` to before `stop`, as `at` does."""
        return self.pixels[start:stop].float().div_(255), self.labels[start:stop]


class Batches:
    """Give the training batch of any step: every epoch is a fresh permutation drawn from (seed, epoch).

    The examples left over by the batch size wait for the next epoch's permutation.
    """

    def __init__(self, images: Images, batch_size: int, seed: int):
        if batch_size > len(images):
            raise ValueError(f"train.batch_size={batch_size} is more than the {len(images)} training examples")
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.steps_per_epoch = len(images) // batch_size
        self._epoch, self._order = -1, torch.empty(0)

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            self._epoch, self._order = epoch, torch.from_numpy(order).to(self.images.labels.device)
        return self.images.at(self._order[position * self.batch_size : (position + 1) * self.batch_size])


def load_images(config: DataConfig, device: torch.device) -> tuple[Images, Images]:
    """Return the training examples and those that accuracy is measured on.

    With `evaluate_on: validation` they are cut from the training set by `split_seed`; with `test` all of it trains.

    Raises:
        DataUnavailable: no source delivers the dataset whole.
    """
    arrays = synthetic_digits() if config.name == "synthetic" else fetch(config.name, Path(config.folder))

    def as_images(pixels: np.ndarray, labels: np.ndarray) -> Images:
        if config.binarize_at is not None:
            pixels = np.where(pixels > 255 * config.binarize_at, 255, 0).astype(np.uint8)
        return Images(torch.from_numpy(pixels).to(device), torch.from_numpy(labels.astype(np.int64)).to(device))

    if config.evaluate_on == "test":
        return as_images(*arrays["train"]), as_images(*arrays["test"])
    pixels, labels = arrays["train"]
    order = np.random.default_rng(config.split_seed).permutation(len(labels))
    held_out, kept = np.sort(order[: config.validation_size]), np.sort(order[config.validation_size :])
    return as_images(pixels[kept], labels[kept]), as_images(pixels[held_out], labels[held_out])


def synthetic_digits(num_train: int = 1200, num_test: int = 600) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Make ten noisy 28x28 patterns, for tests and the smoke tier only: nothing is claimed from them."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 2, (NUM_CLASSES, 28, 28)) * 255

    def draw(num: int) -> tuple[np.ndarray, np.ndarray]:
        labels = random.integers(0, NUM_CLASSES, num)
        is_kept = random.random((num, 28, 28)) < 0.6
        noise = random.integers(0, 256, (num, 28, 28))
        return np.where(is_kept, patterns[labels], noise).astype(np.uint8), labels.astype(np.uint8)

    return {"train": draw(num_train), "test": draw(num_test)}
