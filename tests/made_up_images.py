"""A folder of images like ImageNet's, but tiny, and the imagenet tier at a size for tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from composed import composed
from PIL import Image

from bn_repro.config import Config
from bn_repro.launcher.grids import run_name

NUM_CLASSES, NUM_TRAINING, NUM_VALIDATION = 3, 26, 11


def write_image_folder(folder: Path) -> Path:
    """Write JPEGs and PNGs of several sizes, grey ones too; a class is a hue."""
    draw = np.random.default_rng(0)
    for split, num in (("train", NUM_TRAINING), ("val", NUM_VALIDATION)):
        for number in range(num):
            label = number % NUM_CLASSES
            height, width = draw.integers(50, 90, 2)
            pixels = draw.integers(0, 128, (height, width, 3), np.uint8)
            pixels[..., label] += 100
            path = folder / split / f"class_{label}" / f"image_{number}.{'png' if number % 4 == 0 else 'JPEG'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels if number % 5 else pixels[..., 0]).save(path)
    return folder


def overrides(folder: Path, results: Path, *others: str) -> list[str]:
    """Return what makes a run of the imagenet tier take a second on one CPU thread."""
    defaults = [
        "experiment=inception/imagenet",
        "seed=0",
        "device=cpu",
        f"data.folder={folder}",
        f"data.num_classes={NUM_CLASSES}",
        "data.image_size=64",
        "data.workers=0",
        "data.evaluate_batch=4",
        "network.width=0.125",
        "train.steps=8",
        "train.batch_size=8",
        "train.eval_every=4",
        "train.checkpoint_every=3",
        "train.population_batches=2",
        "probe.batch_size=4",
        f"results_folder={results}",
        "wandb.mode=disabled",
    ]
    given = {override.split("=")[0] for override in others}
    return [*(override for override in defaults if override.split("=")[0] not in given), *others]


def imagenet_config(folder: Path, results: Path, *others: str) -> Config:
    config = composed(*overrides(folder, results, *others))
    return replace(config, name=run_name(config, overrides(folder, results, *others)))
