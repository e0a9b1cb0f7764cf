"""What a run leaves on disk: its config, its machine, a row of metrics a step, activation records, a summary."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bn_repro.config import RunConfig, differences
from bn_repro.records import archive, files
from bn_repro.records.damage import Damaged, Missing
from bn_repro.records.extent import RECORD
from bn_repro.records.reading import (
    read_activations,
    read_bits,
    read_config,
    read_environment,
    read_flat_config,
    read_predictions,
    read_rows,
    read_summary,
)
from bn_repro.records.soundness import check_finished, state_of_record

FINISHED, DIVERGED, STOPPED_AT_CHANCE = "finished", "diverged", "stopped at chance"


def address_of(config: RunConfig) -> str:
    """Return `<experiment>/<tier>/<name>`."""
    return f"{config.experiment}/{config.tier}/{config.name}"


def run_folder(config: RunConfig) -> Path:
    return Path(config.results_folder) / address_of(config)


@dataclass(frozen=True)
class Run:
    """Read one run's folder, on the disk or in an archive, each file when first asked for."""

    folder: Path

    @property
    def has_summary(self) -> bool:
        """Say whether a summary stands there, be it damaged."""
        return archive.exists(self.folder / files.SUMMARY)

    @property
    def is_complete(self) -> bool:
        """Say whether a summary stands there that can be read and has its fields; `damage` asks about the other files."""
        try:
            return self.has_summary and bool(read_summary(self.folder / files.SUMMARY))
        except Damaged:
            return False

    @property
    def damage(self) -> Damaged | None:
        """Return what is damaged or missing in the folder of a finished run."""
        try:
            check_finished(self.folder)
        except Damaged as damage:
            return damage
        return None

    @property
    def name(self) -> str:
        """Return the address's last part, `<arm>-s<seed>` and further overrides."""
        return self.folder.name

    @property
    def address(self) -> str:
        """Return `<experiment>/<tier>/<name>`."""
        return "/".join(self.folder.parts[-3:])

    @cached_property
    def nested_config(self) -> dict[str, Any]:
        """Return the resolved config; empty if the run never began."""
        path = self.folder / files.CONFIG
        return read_config(path) if archive.exists(path) else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return the resolved config, flat: `{"train.lr": 0.5, ...}`; empty if the run never began."""
        path = self.folder / files.CONFIG
        return read_flat_config(path) if archive.exists(path) else {}

    @cached_property
    def environment(self) -> dict[str, Any]:
        return read_environment(self.folder / files.ENVIRONMENT)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Return what the run ended with, but for its count of the record."""
        return {name: value for name, value in read_summary(self.folder / files.SUMMARY).items() if name != RECORD}

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of whole lines, in order of steps."""
        return read_rows(self.folder / files.METRICS)

    @cached_property
    def activations(self) -> dict[str, np.ndarray]:
        """Return `{"step": (R,), "<layer>/<place>/<measure>": (R, ...)}`; empty if no probe ran."""
        path = self.folder / files.ACTIVATIONS
        return read_activations(path) if archive.exists(path) else {}

    @cached_property
    def is_correct(self) -> np.ndarray | None:
        """Return (N,) bool, of each test image whether the trained network is right; None of a diverged run, or of one that kept none."""
        path = self.folder / files.CORRECT
        return read_bits(path, self.summary["num_test_images"]) if archive.exists(path) else None

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """Return labels (N,) and probabilities (N, classes) of the images as they are, and averaged over crops; empty if none are kept."""
        path = self.folder / files.PREDICTIONS
        return read_predictions(path, self.config["data.kept_predictions"]) if archive.exists(path) else {}

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (steps, values) of one metric over the rows that have it."""
        rows = [(row["step"], row[name]) for row in self.metrics if row.get(name) is not None]
        steps, values = zip(*rows) if rows else ((), ())
        return np.asarray(steps, dtype=int), np.asarray(values, dtype=float)


def find_runs(root: Path, experiment: str, tier: str) -> list[Run]:
    """List the complete runs of an experiment and tier, by name, from its folder or its archive under a root.

    One of which a file is damaged or missing is left out; `damage_in` names it. What was read of a run is kept until a file of it changes.
    """
    path = archive_of(root, experiment)
    try:
        packed_away = _runs_in_archive(path, archive.state_of(path), tier)
    except Damaged:
        return []
    on_disk = [_sound_run(folder, state_of_record(folder)) for folder in (root / experiment / tier).glob("*/")]
    return sorted(filter(None, (*on_disk, *packed_away)), key=lambda run: run.name)


@lru_cache(maxsize=4096)
def _sound_run(folder: Path, state: tuple[Any, ...]) -> Run | None:
    run = Run(folder)
    return run if run.has_summary and run.damage is None else None


@lru_cache(maxsize=256)
def _runs_in_archive(path: Path, state: tuple[int, ...] | None, tier: str) -> list[Run]:
    return [run for folder in _folders_in_archive(path, tier) if (run := Run(folder)).has_summary and run.damage is None]


def damage_in(root: Path, tier: str) -> list[Damaged]:
    """List what is damaged or missing in the finished runs of a tier: one file of each run that `find_runs` leaves out."""
    found = []
    for experiment in experiments_in(root, tier):
        sound = {run.folder for run in find_runs(root, experiment, tier)}
        try:
            left_out = [Run(folder) for folder in run_folders(root, experiment, tier) if folder not in sound]
            found += [run.damage for run in left_out if run.has_summary]
        except Damaged as damage:
            found.append(damage)
    return [damage for damage in found if damage]


def finished_run(config: RunConfig) -> Run | None:
    """Return the run that a config asks for if it is finished and whole; None if it is still to be done, or again, as a file is missing.

    Raises:
        Damaged: a file of the finished run is not what was written.
    """
    run = Run(run_folder(config))
    if not run.has_summary:
        return None
    try:
        check_finished(run.folder)
    except Missing:
        return None
    return None if differences(config, run.config) else run


def find_run(root: Path, address: str) -> Run:
    """Return the run of an address, from the archive under a root or, if it is not in there, the folder, which need not be complete."""
    inside = Run(archive_of(root, address.split("/")[0]) / address)
    return inside if inside.has_summary else Run(root / address)


def run_folders(root: Path, experiment: str, tier: str) -> list[Path]:
    """List the folders of an experiment's and tier's runs: `<root>/<experiment>/<tier>/*`, and those in `<root>/<experiment>.tar.xz`."""
    on_disk = (root / experiment / tier).glob("*/")
    return sorted([*on_disk, *_folders_in_archive(archive_of(root, experiment), tier)], key=lambda path: path.name)


def _folders_in_archive(path: Path, tier: str) -> list[Path]:
    names = {name.rpartition("/")[0] for name in archive.opened(path)} if path.exists() else set()
    return [path / name for name in sorted(names) if name.split("/")[1] == tier]


def archive_of(root: Path, experiment: str) -> Path:
    return root / f"{experiment}{archive.SUFFIX}"


def experiments_in(root: Path, tier: str) -> list[str]:
    """List the experiments that a root has runs of, or an archive that cannot be read."""
    names = {path.parent.name for path in root.glob(f"*/{tier}/")} | {
        path.name.removesuffix(archive.SUFFIX) for path in root.glob(f"*{archive.SUFFIX}")
    }
    return sorted(name for name in names if has_runs(root, name, tier))


def has_runs(root: Path, experiment: str, tier: str) -> bool:
    try:
        return bool(run_folders(root, experiment, tier))
    except Damaged:
        return True
