"""Which images a step sees: the whole set in memory, the batch of step t a pure function of (seed, t)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bn_repro.config.images import ImageDataConfig
from bn_repro.data.examples import Indexed
from bn_repro.data.fetch import fetch

NUM_CLASSES = 10
MADE_UP = {"synthetic": ((28, 28), 1200, 600), "synthetic_colour": ((32, 32, 3), 1200, 200)}  # shape, training and test images
COLOURS = {"cifar10": ((0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784))}  # mean, std of the training set


@dataclass(frozen=True)
class Images:
    """Hold examples as uint8 and hand them out as floats.

    Args:
        pixels: (N, H, W), or (N, H, W, C) of colour images, uint8.
        labels: (N,) int64.
        mean, std: (C,), subtracted from and divided into the colours in [0, 1]; None leaves them.
        white: the pixel that becomes 1; of binary images 1, so that nothing is to be divided.
    """

    pixels: Tensor
    labels: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None
    white: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of an example as the network sees it, (H, W) or (C, H, W)."""
        height, width, *channels = self.pixels.shape[1:]
        return (*channels, height, width)

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (B, H, W) or (B, C, H, W) in channels_last, float32, and y (B,) int64."""
        pixels = self.pixels.index_select(0, index)  # several times faster than pixels[index]
        return self.as_floats(pixels), self.labels.index_select(0, index)

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the examples from `start` to before `stop`, as `at` does."""
        return self.as_floats(self.pixels[start:stop]), self.labels[start:stop]

    def in_batches(self, batch_size: int, rank: int = 0, num_ranks: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all examples in turn, as `at` does: of every batch the part of one rank; the last one may have none."""
        for start in range(0, len(self), batch_size):
            part = slice(start + rank, start + batch_size, num_ranks)
            yield self.as_floats(self.pixels[part]), self.labels[part]

    def first(self, number: int | None) -> "Images":
        """Return the first so many examples; None returns all."""
        return replace(self, pixels=self.pixels[:number], labels=self.labels[:number])

    def as_floats(self, pixels: Tensor) -> Tensor:
        x = pixels.float()
        if self.white != 1:
            x = x.div_(self.white)
        if self.mean is not None:
            x = x.sub_(self.mean).div_(self.std)
        return x.permute(0, 3, 1, 2) if x.dim() == 4 else x  # (B, H, W, C) -> (B, C, H, W) without a copy


class Batches:
    """Give the training batch of any step: every epoch is a fresh permutation drawn from (seed, epoch).

    The examples left over by the batch size wait for the next epoch's permutation.

    Args:
        crop_padding: shift each image by up to so many pixels in both directions, black coming in; 0 shifts none.
        has_flips: mirror each image left to right with probability 1/2. Both are drawn from (seed, step).
        colour_jitter: most by which brightness, contrast and saturation of each image change, as a factor; drawn from (seed, step).
        is_reshuffled: draw a fresh permutation each epoch; if not, each epoch has the first one, so that the same examples always meet.
        rank, num_ranks: give only every `num_ranks`-th example of a batch, from the one numbered `rank` on.
    """

    def __init__(
        self,
        images: Indexed,
        batch_size: int,
        seed: int,
        crop_padding: int = 0,
        has_flips: bool = False,
        rank: int = 0,
        num_ranks: int = 1,
        *,
        colour_jitter: float = 0.0,
        is_reshuffled: bool = True,
    ):
        if batch_size > len(images):
            raise ValueError(f"train.batch_size={batch_size} is more than the {len(images)} training examples")
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.crop_padding, self.has_flips, self.colour_jitter = crop_padding, has_flips, colour_jitter
        self.is_reshuffled = is_reshuffled
        self.part = slice(rank, None, num_ranks)
        self.steps_per_epoch = len(images) // batch_size
        self._epoch, self._order = -1, torch.empty(0)

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = order_of_epoch(len(self.images), self.seed, epoch if self.is_reshuffled else 0)
            self._epoch, self._order = epoch, torch.from_numpy(order).to(self.images.labels.device)
        index = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        if self.part.step > 1:
            index = index[self.part]
        if not (self.crop_padding or self.has_flips or self.colour_jitter):
            return self.images.at(index)
        assert isinstance(self.images, Images)
        random = np.random.default_rng([self.seed, epoch, position])
        shifts = random.integers(-self.crop_padding, self.crop_padding + 1, (2, self.batch_size))[:, self.part]
        is_flipped = random.random(self.batch_size)[self.part] < (0.5 if self.has_flips else 0)
        pixels = shifted_and_flipped(self.images.pixels, index, torch.from_numpy(shifts), torch.from_numpy(is_flipped))
        labels = self.images.labels.index_select(0, index)
        if not self.colour_jitter:
            return self.images.as_floats(pixels), labels
        factors = random.uniform(1 - self.colour_jitter, 1 + self.colour_jitter, (3, self.batch_size))[:, self.part]
        pixels = with_other_colours(pixels, torch.from_numpy(factors).float().to(pixels.device))
        return self.images.as_floats(pixels), labels


def order_of_epoch(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(num_examples)


def shifted_and_flipped(pixels: Tensor, index: Tensor, shifts: Tensor, is_flipped: Tensor) -> Tensor:
    """Return images (B, H, W, ...), shifted by (2, B) rows and columns with black coming in, then mirrored where (B,)."""
    height, width = pixels.shape[1:3]
    shifts, is_flipped = shifts.to(pixels.device), is_flipped.to(pixels.device)
    rows = torch.arange(height, device=pixels.device) + shifts[0, :, None]  # (B, H)
    columns = torch.arange(width, device=pixels.device).expand(len(index), -1)
    columns = torch.where(is_flipped[:, None], columns.flip(1), columns) + shifts[1, :, None]  # (B, W)
    is_inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    places = (index[:, None] * height + rows.clamp(0, height - 1))[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    taken = pixels.flatten(0, 2).index_select(0, places.flatten())  # one row per place; indexing by three tensors is slow
    taken[~is_inside.flatten()] = 0
    return taken.view(len(index), *pixels.shape[1:])


def with_other_colours(pixels: Tensor, factors: Tensor) -> Tensor:
    """Return colour images (B, H, W, 3) with brightness, contrast and saturation multiplied by factors (3, B), as floats in [0, 255]."""
    brightness, contrast, saturation = factors[:, :, None, None, None]
    x = (pixels.float() * brightness).clamp_(0, 255)
    x = torch.lerp(grey(x).mean((1, 2, 3), keepdim=True), x, contrast).clamp_(0, 255)
    return torch.lerp(grey(x), x, saturation).clamp_(0, 255)


def grey(x: Tensor) -> Tensor:
    """Return the luma (B, H, W, 1) of ITU-R 601 of colour images (B, H, W, 3)."""
    return x @ x.new_tensor([[0.299], [0.587], [0.114]])


def load_images(config: ImageDataConfig, device: torch.device) -> tuple[Images, Images]:
    """Return the training examples and those that accuracy is measured on.

    With `evaluate_on: validation` they are cut from the training set by `split_seed`; with `test` all of it trains.

    Raises:
        DataUnavailable: no source delivers the dataset whole.
    """
    arrays = synthetic_patterns(*MADE_UP[config.name]) if config.name in MADE_UP else fetch(config.name, Path(config.folder))

    def as_images(pixels: np.ndarray, labels: np.ndarray) -> Images:
        if config.binarize_at is not None:
            pixels = binarized(pixels, config.binarize_at)
        mean, std = (torch.tensor(value, device=device) for value in COLOURS[config.name]) if config.name in COLOURS else (None, None)
        white = 255 if config.binarize_at is None else 1
        return Images(torch.from_numpy(pixels).to(device), torch.from_numpy(labels.astype(np.int64)).to(device), mean, std, white)

    if config.evaluate_on == "test":
        return as_images(*arrays["train"]), as_images(*arrays["test"])
    pixels, labels = arrays["train"]
    order = np.random.default_rng(config.split_seed).permutation(len(labels))
    held_out, kept = np.sort(order[: config.validation_size]), np.sort(order[config.validation_size :])
    return as_images(pixels[kept], labels[kept]), as_images(pixels[held_out], labels[held_out])


def binarized(pixels: np.ndarray, threshold: float) -> np.ndarray:
    """Return 1 where uint8 pixels are above `threshold` * 255, else 0.

    An integer is above a number in [0, 255) where it is above that number's integer part, so that no pixel becomes a float.
    """
    return (pixels > np.uint8(math.floor(255 * threshold))).view(np.uint8)


def synthetic_patterns(shape: tuple[int, ...], num_train: int = 1200, num_test: int = 600) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Make images of ten noisy patterns, for tests and the smoke tier only: nothing is claimed from them."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 2, (NUM_CLASSES, *shape)) * 255

    def draw(num: int) -> tuple[np.ndarray, np.ndarray]:
        labels = random.integers(0, NUM_CLASSES, num)
        is_kept = random.random((num, *shape)) < 0.6
        noise = random.integers(0, 256, (num, *shape))
        return np.where(is_kept, patterns[labels], noise).astype(np.uint8), labels.astype(np.uint8)

    return {"train": draw(num_train), "test": draw(num_test)}
