"""Which learning rate, momentum, decay or dropout the networks get where the paper is silent: the best of a grid on validation images."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bn_repro.records.record import Run, find_runs


@dataclass(frozen=True)
class Protocol:
    """A grid: its experiment, of tier `long`, and the knobs that it sweeps."""

    experiment: str
    knobs: tuple[str, ...]


BASE_KNOBS = ("base.lr", "base.final_lr_ratio", "base.drop_rate")
MNIST = Protocol("mnist_protocol", ("train.lr", "train.momentum", "network.init_std"))
INCEPTION = {"quick": Protocol("inception_protocol_quick", BASE_KNOBS), "long": Protocol("inception_protocol", BASE_KNOBS)}


@dataclass(frozen=True)
class GridPoint:
    """The mean validation accuracy (a fraction) of one point of the grid over `n` seeds."""

    norm: str
    values: tuple[float, ...]  # of the knobs
    accuracy: float
    n: int


def grid_points(runs: Sequence[Run], knobs: Sequence[str]) -> list[GridPoint]:
    """Average the last validation accuracy over seeds, for every norm and point; a diverged run counts as it ended."""
    accuracies = defaultdict(list)
    for run in runs:
        values = tuple(float(run.config[knob]) for knob in knobs)
        accuracies[run.config["norm"], values].append(run.column("accuracy")[1][-1])
    return [GridPoint(norm, values, float(np.mean(found)), len(found)) for (norm, values), found in sorted(accuracies.items())]


def without_momentum(values: Sequence[float]) -> bool:
    return values[MNIST.knobs.index("train.momentum")] == 0


def best_point(points: Sequence[GridPoint], norm: str, is_eligible: Callable[[Sequence[float]], bool] = lambda _: True) -> GridPoint:
    """Return the norm's eligible point of highest validation accuracy; of equal ones the first."""
    return max((point for point in points if point.norm == norm and is_eligible(point.values)), key=lambda point: point.accuracy)


def read_grid(root: Path, tier: str, protocol: Protocol = MNIST) -> list[GridPoint]:
    return grid_points(find_runs(root, protocol.experiment, tier), protocol.knobs)
