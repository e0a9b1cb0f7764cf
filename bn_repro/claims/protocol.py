"""Which learning rate, momentum and initial deviation each arm gets: the best of one grid on validation images."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bn_repro.records.record import Run, find_runs

EXPERIMENT = "mnist_protocol"
KNOBS = ("train.lr", "train.momentum", "network.init_std")


@dataclass(frozen=True)
class GridPoint:
    """The mean validation accuracy (a fraction) of one point of the grid over `n` seeds."""

    norm: str
    values: tuple[float, ...]  # of KNOBS
    accuracy: float
    n: int


def grid_points(runs: Sequence[Run]) -> list[GridPoint]:
    """Average the last validation accuracy over seeds, for every norm and point; a diverged run counts as it ended."""
    accuracies = defaultdict(list)
    for run in runs:
        values = tuple(float(run.config[knob]) for knob in KNOBS)
        accuracies[run.config["norm"], values].append(run.column("accuracy")[1][-1])
    return [GridPoint(norm, values, float(np.mean(found)), len(found)) for (norm, values), found in sorted(accuracies.items())]


def best_point(points: Sequence[GridPoint], norm: str, has_momentum: bool = True) -> GridPoint:
    """Return the norm's point of highest validation accuracy, of all or of those without momentum; of equal ones the first."""
    eligible = [point for point in points if point.norm == norm and (has_momentum or point.values[KNOBS.index("train.momentum")] == 0)]
    return max(eligible, key=lambda point: point.accuracy)


def read_grid(root: Path, tier: str) -> list[GridPoint]:
    return grid_points(find_runs(root, EXPERIMENT, tier))
