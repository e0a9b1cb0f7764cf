"""Which runs a user means, by address, folder or glob, and each of them as one flat dict."""

import glob
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bn_repro.comparison.settings import identity
from bn_repro.records import archive, files
from bn_repro.records.damage import Damaged
from bn_repro.records.extent import RECORD
from bn_repro.records.reading import flatten
from bn_repro.records.record import Run


def load_runs(*patterns: str | Path) -> list[dict[str, Any]]:
    """Return the complete runs that the patterns name as flat dicts, one a run, ready for any data frame.

    Each has `address`, `folder`, every knob of the resolved config (`train.lr`, `network.depth`, ...) and every number of the
    summary (`accuracy`, `steps`, `seconds`, `status`, ...).

    Args:
        patterns: addresses such as `mnist_sigmoid/quick/batch-s0`, folders with runs at any depth, archives of published
            runs, or globs of any of them; relative to the working folder or to `results/runs`.

    Raises:
        ValueError: a pattern names nothing.
    """
    return [as_row(run) for run in whole_ones(find_all(*patterns))]


def whole_ones(runs: list[Run]) -> list[Run]:
    """Return the complete runs; warn of each of which a file is damaged or missing, and leave it out."""
    finished = [run for run in runs if run.has_summary]
    for run in finished:
        if run.damage:
            print(f"warning: left out: {run.damage}", file=sys.stderr)
    return [run for run in finished if not run.damage]


def each_once(runs: list[Run]) -> list[Run]:
    """Return runs of which no two would end the same, so that each counts as one; warn of those left out."""
    first: dict[tuple, Run] = {}
    for run in runs:
        one = first.setdefault(identity(run), run)
        if one is not run:
            print(f"warning: left out: {run.folder} is {one.folder} once more, of the same knobs and seed", file=sys.stderr)
    return list(first.values())


def as_row(run: Run) -> dict[str, Any]:
    return {"address": run.address, "folder": str(run.folder), **run.config, **summary_of(run)}


def summary_of(run: Run) -> dict[str, Any]:
    """Return what a run ended with, flat; not the digests of its files."""
    return flatten({name: value for name, value in run.summary.items() if name != RECORD})


def find_all(*patterns: str | Path) -> list[Run]:
    """List the runs that patterns name, complete or not, each once, in the order of the patterns and then of folders.

    Raises:
        ValueError: a pattern names nothing.
    """
    found: dict[Path, Run] = {}
    for pattern in patterns:
        runs = runs_at(str(pattern))
        if not runs:
            raise ValueError(f"{pattern}: no runs there; give addresses, folders or globs, here or under {files.RUNS}")
        found |= {run.folder.resolve(): run for run in runs}
    return list(found.values())


def runs_at(pattern: str) -> list[Run]:
    """List the runs that a pattern stands for here or, where there are none, under `results/runs`."""
    for root in (Path(), files.RUNS):
        runs = [run for place in places_of(root / pattern) for run in runs_below(place)]
        if runs:
            return runs
    return []


def places_of(path: Path) -> list[Path]:
    """Return the path itself where there is one, since names of runs may hold brackets, else what it matches as a glob."""
    if path.exists() or archive.archive_and_name(path):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]


def runs_below(place: Path) -> Iterator[Run]:
    """Yield the run at a place, or all below it, in folders and in archives; warn of a tar.xz that is no archive of runs."""
    inside = archive.archive_and_name(place / files.CONFIG)  # an archive, or a folder of one
    archives = [inside[0]] if inside else [path for path in sorted(place.rglob(f"*{archive.SUFFIX}")) if has_runs(path)]
    configs = [*place.rglob(files.CONFIG), *(path for each in archives for path in archive.files_in(each) if path.name == files.CONFIG)]
    yield from map(Run, sorted(path.parent for path in configs if path.is_relative_to(place)))


def has_runs(path: Path) -> bool:
    try:
        return bool(archive.files_in(path))
    except Damaged as damage:
        print(f"warning: let by, since no runs can be read from it: {path} ({damage.reason})", file=sys.stderr)
        return False
