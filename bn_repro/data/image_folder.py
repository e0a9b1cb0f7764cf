"""Which images a step sees when they are files, a folder a class: decoded by PIL, cropped and distorted by timm's transforms.

A batch is a pure function of (seed, step), random crops included: worker processes only decode ahead of the steps.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bn_repro.config.images import ImageDataConfig
from bn_repro.data.fetch import TRAINING_FOLDER, VALIDATION_FOLDER, check_image_folder
from bn_repro.data.images import order_of_epoch

Sample = tuple[str, int]  # path, label
Key = tuple[int, int]  # epoch, index of the sample


class Decoded(Dataset):
    """Map (epoch, index) to pixels (3, S, S) uint8 and label; the transform's random draws depend on (seed, epoch, index) alone."""

    def __init__(self, samples: list[Sample], transform: Callable[[Image.Image], Tensor], seed: int):
        self.samples, self.transform, self.seed = samples, transform, seed

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        path, label = self.samples[index]
        try:
            with drawing_from(self.seed, epoch, index), Image.open(path) as image:
                return self.transform(image.convert("RGB")), label
        except OSError as error:
            raise OSError(f"{path}: {error}") from error  # PIL's message names no file


@contextmanager
def drawing_from(*seeds: int) -> Iterator[None]:
    """Let Python's and torch's global generators, from which transforms draw, start from `seeds`, and go on as before after."""
    (seed,) = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    before = random.getstate(), torch.get_rng_state()
    random.seed(int(seed))
    torch.default_generator.manual_seed(int(seed))  # torch.manual_seed would seed the GPUs, too
    try:
        yield
    finally:
        random.setstate(before[0])
        torch.set_rng_state(before[1])


@dataclass(frozen=True)
class FolderImages:
    """Hold the names of images and hand them out as floats, as `Images` does with pixels in memory."""

    samples: list[Sample]
    config: ImageDataConfig
    device: torch.device
    is_distorted: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def shape(self) -> tuple[int, int, int]:
        side = self.config.image_size
        assert side is not None, "checked with the config"
        return (3, side, side)

    def first(self, number: int | None) -> "FolderImages":
        return replace(self, samples=self.samples[:number])

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        return next(self.decoded([[(0, index) for index in range(start, min(stop, len(self)))]]))

    def in_batches(self, batch_size: int, rank: int = 0, num_ranks: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        starts = range(0, len(self), batch_size)
        return self.decoded([[(0, i) for i in range(start, min(start + batch_size, len(self)))][rank::num_ranks] for start in starts])

    def decoded(self, batches: Iterable[list[Key]], seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield x (B, 3, S, S) in channels_last, float32, and y (B,) int64 of each list of keys."""
        from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

        mean, std = (torch.tensor(colours, device=self.device).view(3, 1, 1) for colours in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
        loader = DataLoader(
            Decoded(self.samples, build_transform(self.config, self.is_distorted), seed),
            batch_sampler=batches,
            num_workers=self.config.workers,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # the global one is dropout's
        )
        for pixels, labels in loader:
            pixels = pixels.to(self.device, non_blocking=True, memory_format=torch.channels_last)
            yield pixels.float().div_(255).sub_(mean).div_(std), labels.to(self.device, non_blocking=True)


class FolderBatches:
    """Give one rank's part of the training batch of any step, in `Batches`' order; steps asked for in turn are decoded ahead."""

    def __init__(self, images: FolderImages, batch_size: int, seed: int, rank: int = 0, num_ranks: int = 1, *, is_reshuffled: bool = True):
        if batch_size > len(images):
            raise ValueError(f"train.batch_size={batch_size} is more than the {len(images)} training examples")
        self.images, self.seed = replace(images, is_distorted=True), seed
        self.keys_from = partial(keys_from, len(images), batch_size, seed, slice(rank, None, num_ranks), is_reshuffled)
        self._next_step = -1

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        if step != self._next_step:
            self._ahead = self.images.decoded(self.keys_from(step), self.seed)
        self._next_step = step + 1
        return next(self._ahead)


def keys_from(num_examples: int, batch_size: int, seed: int, part: slice, is_reshuffled: bool, step: int) -> Iterator[list[Key]]:
    """Yield what a rank decodes of every batch from `step` on, without end."""
    epoch, position = divmod(step, num_examples // batch_size)
    while True:
        order = order_of_epoch(num_examples, seed, epoch if is_reshuffled else 0)
        for start in range(position * batch_size, num_examples - batch_size + 1, batch_size):
            yield [(epoch, int(index)) for index in order[start : start + batch_size][part]]
        epoch, position = epoch + 1, 0


def collate(examples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Stack examples; there are none where a last batch has fewer than there are ranks."""
    pixels = torch.stack([pixels for pixels, _ in examples]) if examples else torch.empty(0, 3, 0, 0, dtype=torch.uint8)
    return pixels, torch.tensor([label for _, label in examples], dtype=torch.int64)


def build_transform(config: ImageDataConfig, is_distorted: bool) -> Callable[[Image.Image], Tensor]:
    """Build timm's transform of an image to uint8 (3, S, S): GoogLeNet's random crops in training, else one central crop of 7/8."""
    from timm.data import create_transform

    return create_transform(
        config.image_size,
        is_training=is_distorted,
        hflip=0.5 if config.has_flips else 0.0,
        color_jitter=config.colour_jitter or None,
        interpolation="bicubic",
        crop_pct=0.875,
        normalize=False,  # on the device, which gets a quarter of the bytes
    )


def load_image_folder(config: ImageDataConfig, device: torch.device) -> tuple[FolderImages, FolderImages]:
    """Return the training images and those that accuracy is measured on, the latter in an order in which the first few are fair.

    Raises:
        DataUnavailable: the folder is not there, or not laid out as one of images.
        ValueError: its classes are not as many as configured, or those of the two splits differ.
    """
    from timm.data import create_dataset

    folder = Path(config.folder)
    check_image_folder(folder)
    readers = {split: create_dataset("", folder / split, search_split=False).reader for split in (TRAINING_FOLDER, VALIDATION_FOLDER)}
    classes = readers[TRAINING_FOLDER].class_to_idx
    if len(classes) != config.num_classes:
        raise ValueError(f"data.num_classes={config.num_classes}, but {folder / TRAINING_FOLDER} has {len(classes)} classes")
    if readers[VALIDATION_FOLDER].class_to_idx != classes:
        raise ValueError(f"{folder / TRAINING_FOLDER} and {folder / VALIDATION_FOLDER} have different classes")
    training, held_out = (reader.samples for reader in readers.values())
    if config.evaluate_on == "validation":
        order = np.random.default_rng(config.split_seed).permutation(len(training))
        held_out = [training[i] for i in order[: config.validation_size]]
        training = [training[i] for i in np.sort(order[config.validation_size :])]
    else:
        held_out = [held_out[i] for i in np.random.default_rng(config.split_seed).permutation(len(held_out))]
    return FolderImages(training, config, device), FolderImages(held_out, config, device)
