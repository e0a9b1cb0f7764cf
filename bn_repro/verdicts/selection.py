"""Which records a claim is about: the runs of one arm by seed, one norm's sweep of learning rates or map, or its games."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from bn_repro.records.record import Run, find_runs

Point = TypeVar("Point", bound=Any)
NAME = re.compile(r"(?P<arm>[^,]+)-s(?P<seed>\d+)")  # no further overrides: a user's ablations do not count
SWEPT_NAME = re.compile(rf"{NAME.pattern},train\.lr=(?P<lr>[^,]+)")
MAP_NAME = re.compile(rf"{NAME.pattern},network\.init_(std|gain)=(?P<std>[^,]+),train\.lr=(?P<lr>[^,]+)")
GAME_NAME = re.compile(rf"{NAME.pattern},game\.name=(?P<game>[^,]+)")
Sweep = dict[float, Run]  # by learning rate
Games = dict[str, Run]  # by name
Map = dict[tuple[float, float], Run]  # by learning rate and initial standard deviation, or its factor


def runs_of(root: Path, arm: str, tier: str) -> dict[int, Run]:
    """Return the complete runs of `<experiment>/<arm>` on real data, by seed."""
    return dict(sorted((int(name["seed"]), run) for name, run in named_runs(root, arm, tier, NAME)))


def runs_with_overrides(root: Path, arm: str, tier: str) -> dict[int, Run]:
    """Return the complete runs of `<experiment>/<arm>,<override>,...`, with exactly these overrides in the order of names, by seed."""
    experiment, name = arm.split("/")
    arm_name, *overrides = name.split(",")
    pattern = re.compile(",".join([rf"(?P<arm>{re.escape(arm_name)})-s(?P<seed>\d+)", *map(re.escape, overrides)]))
    return dict(sorted((int(name["seed"]), run) for name, run in named_runs(root, f"{experiment}/{arm_name}", tier, pattern)))


def runs_of_arms(root: Path, arms: str, tier: str) -> dict[int, tuple[Run, ...]]:
    """Return the complete runs of each arm of `<experiment>/<arm>+<arm>`, by seeds that all of them have."""
    experiment, names = arms.split("/")
    found = [runs_of(root, f"{experiment}/{name}", tier) for name in names.split("+")]
    return {seed: tuple(runs[seed] for runs in found) for seed in found[0] if all(seed in runs for runs in found)}


def sweeps_of(root: Path, arm: str, tier: str) -> dict[int, Sweep]:
    """Return the sweeps of `<experiment>/<norm>` on real data, by seed; those of all rates that the widest has."""
    return complete_by_seed(named_runs(root, arm, tier, SWEPT_NAME), lambda name: float(name["lr"]))


def maps_of(root: Path, arm: str, tier: str) -> dict[int, Map]:
    """Return the maps of `<experiment>/<norm>` on real data, by seed; those of all points that the widest has."""
    return complete_by_seed(named_runs(root, arm, tier, MAP_NAME), lambda name: (float(name["lr"]), float(name["std"])))


def games_of(root: Path, arm: str, tier: str) -> dict[int, Games]:
    """Return the runs of `<experiment>/<arm>` by seed and game; those of all games that the widest seed has."""
    return complete_by_seed(named_runs(root, arm, tier, GAME_NAME), lambda name: name["game"])


def complete_by_seed(named: Iterable[tuple[re.Match[str], Run]], point_of: Callable[[re.Match[str]], Point]) -> dict[int, dict[Point, Run]]:
    """Return runs by seed and by their point of a grid, in order; of seeds that have all points."""
    found: dict[int, dict[Point, Run]] = {}
    for name, run in named:
        found.setdefault(int(name["seed"]), {})[point_of(name)] = run
    points = set().union(*found.values()) if found else set()
    return {seed: dict(sorted(runs.items())) for seed, runs in sorted(found.items()) if runs.keys() == points}


def named_runs(root: Path, arm: str, tier: str, pattern: re.Pattern[str]) -> list[tuple[re.Match[str], Run]]:
    """List (parts of the name, run) of the complete runs on real data whose whole name fits the pattern."""
    experiment, arm_name = arm.split("/")
    named = [(pattern.fullmatch(run.name), run) for run in find_runs(root, experiment, tier)]
    return [
        (name, run)
        for name, run in named
        if name and name["arm"] == arm_name and not str(run.config.get("data.name")).startswith("synthetic")
    ]


def runs_in(selected: Run | tuple[Run, ...] | Sweep | Map | Games) -> list[Run]:
    if isinstance(selected, Run):
        return [selected]
    return list(selected.values() if isinstance(selected, dict) else selected)
