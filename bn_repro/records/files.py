"""How a file is written so that no crash leaves half of it, and what every file of a run is called."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
# What comes with the code, such as configs/: in the package where it was installed from a wheel, else at the top of the checkout.
SHIPPED = PACKAGE if (PACKAGE / "configs").is_dir() else PACKAGE.parent

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
ACTIVATIONS = "activations.npz"
CORRECT = "correct.npy"
PREDICTIONS = "predictions.npz"
WEIGHTS = "weights.safetensors"
VOCABULARY = "vocabulary.json"
FEATURES = "features.npz"
SUMMARY = "summary.json"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"
ERROR = "error.txt"

RESULTS = Path("results")
RUNS = RESULTS / "runs"
REPORTS = RESULTS / "report"
PUBLISHED = RESULTS / "published"
UNPACKED = RESULTS / "unpacked"
JOBS = RESULTS / ".jobs"
COMPARISON = RESULTS / "comparison.svg"

RULES = RESULTS / "rules.json"
CLAIMS = "claims.json"
REPORT_TEXT = "REPORT.md"
REPORT_PAGE = "report.html"
FIGURES = "figures"
PUBLISHED_RUNS = "runs"  # a root of archives


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Replace `path` by `content`, wholly or not at all, also if the power fails.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries, not only the files in them, survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_json(value: Any) -> bytes:
    """Encode as indented JSON with one trailing newline; not-a-number and infinity become null."""
    return (json.dumps(without_nan(value), indent=2, ensure_ascii=False) + "\n").encode()


def without_nan(value: Any) -> Any:
    """Replace floats that JSON does not know by None, at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not (value - value == 0):
        return None
    return value
