"""What a run leaves on disk: its config, its machine, a row of metrics a step, activation records, a summary."""

import fcntl
import io
import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bn_repro.config import Config
from bn_repro.records import archive, files
from bn_repro.records.packing import packed, unpacked

FINISHED, DIVERGED = "finished", "diverged"


def address_of(config: Config) -> str:
    """Return `<experiment>/<tier>/<name>`."""
    return f"{config.experiment}/{config.tier}/{config.name}"


def run_folder(config: Config) -> Path:
    return Path(config.results_folder) / address_of(config)


class RunBusy(RuntimeError):
    """Another process is writing this run."""


class RunWriter:
    """Write one run's folder; a row is on disk when `append` returns, a summary means complete.

    Args:
        folder: the run's address under the results folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.activation_rows: list[dict[str, np.ndarray]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(folder / files.LOCK, "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise RunBusy(f"{folder} is being written by another process") from error
        self._metrics = open(folder / files.METRICS, "ab")

    def close(self) -> None:
        self._metrics.close()
        self._lock.close()

    def begin(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Write what was asked for and on what machine, before the first step."""
        files.write_atomically(self.folder / files.CONFIG, yaml.safe_dump(config, sort_keys=False).encode())
        files.write_atomically(self.folder / files.ENVIRONMENT, files.as_json(environment))

    def append(self, row: dict[str, Any]) -> None:
        """Append one object to the metrics."""
        self._metrics.write((json.dumps(files.without_nan(row)) + "\n").encode())
        self._metrics.flush()

    def append_activations(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep one activation record, which reaches the disk with the next `sync`."""
        self.activation_rows.append({"step": np.asarray(step), **arrays})

    def sync(self) -> None:
        """Force all rows so far to the disk; called before a checkpoint, so that none is ahead of its rows."""
        os.fsync(self._metrics.fileno())
        if self.activation_rows:
            names = self.activation_rows[0]
            stacked = {name: np.stack([row[name] for row in self.activation_rows]) for name in names}
            files.write_atomically(self.folder / files.ACTIVATIONS, packed(stacked))

    def rewind(self, step: int) -> None:
        """Forget every row of `step` and later, as well as a row cut short by a kill."""
        kept = []
        for line in (self.folder / files.METRICS).read_bytes().split(b"\n")[:-1]:
            if json.loads(line)["step"] >= step:
                break
            kept.append(line + b"\n")
        self._metrics.close()
        files.write_atomically(self.folder / files.METRICS, b"".join(kept))
        self._metrics = open(self.folder / files.METRICS, "ab")
        self.activation_rows = []
        path = self.folder / files.ACTIVATIONS
        if step and path.exists():
            arrays = unpacked(path)
            num_kept = int((arrays["step"] < step).sum())
            self.activation_rows = [{name: array[row] for name, array in arrays.items()} for row in range(num_kept)]

    def keep_correct(self, is_correct: np.ndarray) -> None:
        """Keep which test images the trained network is right on, a bit each."""
        file = io.BytesIO()
        np.save(file, np.packbits(is_correct))
        files.write_atomically(self.folder / files.CORRECT, file.getvalue())

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the summary, whose presence means that the run is complete; its checkpoints are of no more use."""
        self.sync()
        files.write_atomically(self.folder / files.SUMMARY, files.as_json(summary))
        shutil.rmtree(self.folder / files.CHECKPOINTS, ignore_errors=True)


class SilentWriter:
    """Stand for the writer in processes that do not write the run they take part in."""

    def __init__(self, folder: Path):
        self.folder = folder

    def ignore(self, *_: Any) -> None:
        pass

    begin = append = append_activations = keep_correct = sync = rewind = finish = close = ignore


@dataclass(frozen=True)
class Run:
    """Read one run's folder, on the disk or in an archive, each file when first asked for."""

    folder: Path

    @property
    def is_complete(self) -> bool:
        return archive.exists(self.folder / files.SUMMARY)

    @property
    def name(self) -> str:
        """Return the address's last part, `<arm>-s<seed>` and further overrides."""
        return self.folder.name

    @property
    def address(self) -> str:
        """Return `<experiment>/<tier>/<name>`."""
        return "/".join(self.folder.parts[-3:])

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return the resolved config, flat: `{"train.lr": 0.5, ...}`; empty if the run never began."""
        path = self.folder / files.CONFIG
        return flatten(yaml.safe_load(archive.read(path))) if archive.exists(path) else {}

    @cached_property
    def environment(self) -> dict[str, Any]:
        return json.loads(archive.read(self.folder / files.ENVIRONMENT))

    @cached_property
    def summary(self) -> dict[str, Any]:
        return json.loads(archive.read(self.folder / files.SUMMARY))

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of whole lines, in order of steps."""
        return [json.loads(line) for line in archive.read(self.folder / files.METRICS).split(b"\n")[:-1]]

    @cached_property
    def activations(self) -> dict[str, np.ndarray]:
        """Return `{"step": (R,), "<layer>/<place>/<measure>": (R, ...)}`; empty if no probe ran."""
        path = self.folder / files.ACTIVATIONS
        return unpacked(io.BytesIO(archive.read(path))) if archive.exists(path) else {}

    @cached_property
    def is_correct(self) -> np.ndarray | None:
        """Return (N,) bool, of each test image whether the trained network is right; None of a diverged run, or of one that kept none."""
        path = self.folder / files.CORRECT
        if not archive.exists(path):
            return None
        return np.unpackbits(np.load(io.BytesIO(archive.read(path))), count=self.summary["num_test_images"]).astype(bool)

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (steps, values) of one metric over the rows that have it."""
        rows = [(row["step"], row[name]) for row in self.metrics if row.get(name) is not None]
        steps, values = zip(*rows) if rows else ((), ())
        return np.asarray(steps, dtype=int), np.asarray(values, dtype=float)


def find_runs(root: Path, experiment: str, tier: str) -> list[Run]:
    """List the complete runs of an experiment and tier, by name, from its folder or its archive under a root."""
    return [run for run in map(Run, run_folders(root, experiment, tier)) if run.is_complete]


def find_run(root: Path, address: str) -> Run:
    """Return the run of an address, from the archive under a root or, if it is not in there, the folder, which need not be complete."""
    inside = Run(archive_of(root, address.split("/")[0]) / address)
    return inside if inside.is_complete else Run(root / address)


def run_folders(root: Path, experiment: str, tier: str) -> list[Path]:
    """List the folders of an experiment's and tier's runs: `<root>/<experiment>/<tier>/*`, and those in `<root>/<experiment>.zip`."""
    packed_away = {path.parent for path in archive.files_in(archive_of(root, experiment)) if path.parts[-3] == tier}
    return sorted({*(root / experiment / tier).glob("*/"), *packed_away}, key=lambda path: path.name)


def archive_of(root: Path, experiment: str) -> Path:
    return root / f"{experiment}{archive.SUFFIX}"


def experiments_in(root: Path, tier: str) -> list[str]:
    """List the experiments that a root has runs of."""
    names = {path.parent.name for path in root.glob(f"*/{tier}/")} | {path.stem for path in root.glob(f"*{archive.SUFFIX}")}
    return sorted(name for name in names if run_folders(root, name, tier))


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn {"train": {"lr": 1}} into {"train.lr": 1}."""
    flat = {}
    for name, value in nested.items():
        flat.update(flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat
