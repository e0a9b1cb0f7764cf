"""Decoded datasets on disk: verified once, then mapped into the memory that all processes share."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from bn_repro.data.sources import Dataset, Splits
from bn_repro.records.files import as_json, write_atomically

STAMP = "verified.json"  # written after the arrays were verified; says which files those were


def verify(dataset: Dataset, splits: Splits) -> None:
    """Raise ValueError unless shapes, types, bytes and order of the examples are the canonical ones."""
    for split, expected in dataset.sha256.items():
        images, labels = splits[split]
        shape = (images.size,) if dataset.image_shape is None else (len(labels), *dataset.image_shape)
        if images.shape != shape or images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise ValueError(f"{split} images are {images.dtype} {images.shape}, labels {labels.dtype} {labels.shape}")
        digest = hashlib.sha256(np.ascontiguousarray(images).data)
        digest.update(np.ascontiguousarray(labels).data)
        if digest.hexdigest() != expected:
            raise ValueError(f"the {split} split has SHA-256 {digest.hexdigest()[:12]}, not {expected[:12]}")


def cache_paths(dataset: Dataset, folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return where the images and the labels of each split are kept."""
    own = folder / dataset.name
    return {split: (own / f"{split}-images.npy", own / f"{split}-labels.npy") for split in dataset.sha256}


def read_cache(dataset: Dataset, folder: Path) -> Splits | None:
    """Map the kept arrays into memory, copied only where they are written to; None if there are none.

    They are read whole and verified only if a file is not the one that was verified before.

    Raises:
        ValueError: they are not the dataset's.
    """
    paths = cache_paths(dataset, folder)
    if not all(path.exists() for pair in paths.values() for path in pair):
        return None
    stamp = stamp_of(dataset, folder)  # before mapping, so that a file replaced meanwhile does not count as verified
    splits = {split: (np.load(images, mmap_mode="c"), np.load(labels, mmap_mode="c")) for split, (images, labels) in paths.items()}
    if stamp != recorded_stamp(dataset, folder):
        verify(dataset, splits)
        try:
            write_atomically(folder / dataset.name / STAMP, as_json(stamp))
        except OSError:
            pass  # a folder that cannot be written is verified at each start
    return splits


def stamp_of(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Return what tells the files that are there from any other: their size, times and the digests they should have."""
    stats = {path.name: path.stat() for pair in cache_paths(dataset, folder).values() for path in pair}
    return {"sha256": dataset.sha256, "files": {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats.items()}}


def recorded_stamp(dataset: Dataset, folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / dataset.name / STAMP).read_text())
    except (OSError, ValueError):
        return None


def write_cache(dataset: Dataset, folder: Path, splits: Splits) -> None:
    """Write each array to a file of its own, which other processes see whole or not at all."""
    for split, paths in cache_paths(dataset, folder).items():
        for path, array in zip(paths, splits[split]):
            buffer = io.BytesIO()
            np.save(buffer, array)
            write_atomically(path, buffer.getbuffer())
