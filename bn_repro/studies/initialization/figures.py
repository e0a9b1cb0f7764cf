"""How the map looks: heat maps of steps without BN and with, and of the speed-up, with their numbers."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure as Drawing

from bn_repro.figures.style import new_figure
from bn_repro.studies.initialization.measures import (
    INCEPTION,
    LR,
    SIGMOID,
    STD,
    MapPairs,
    mean_accuracy,
    median_gain,
    median_steps,
    usable_threshold,
)
from bn_repro.studies.study import Drawn
from bn_repro.verdicts.selection import maps_of

FEWEST_STEPS = 100  # of the colours
LARGEST_GAIN = 15  # of the colours; larger ones look the same
PAPERS_GAIN = 14  # times fewer steps, the abstract's
EDGES = {"usable": ("#111111", "-"), "paper": ("#E69F00", (0, (2, 1)))}  # colour and line


def draw_maps(root: Path, tier: str) -> Drawn | None:
    """Draw steps to 90 % without BN and with, and BN's speed-up, over learning rate and deviation."""
    return drawn(root, tier, SIGMOID, figure_maps)


def draw_accuracies(root: Path, tier: str) -> Drawn | None:
    """Draw the final accuracy of the small Inception without BN and with, over learning rate and deviation."""
    return drawn(root, tier, INCEPTION, figure_accuracies)


def drawn(root: Path, tier: str, experiment: str, draw: Callable[[MapPairs], Drawing]) -> Drawn | None:
    plain, bn = (maps_of(root, f"{experiment}/{norm}", tier) for norm in ("none", "batch"))
    pairs = [(plain[seed], bn[seed]) for seed in plain if seed in bn]
    if not pairs:
        return None
    runs = [run for pair in pairs for found in pair for run in found.values()]
    return Drawn(draw(pairs), runs, f"n = {len(pairs)} at every point.")


def figure_accuracies(pairs: MapPairs) -> Drawing:
    rates, stds = points_of(pairs)
    figure, axes = new_figure(2, 8, 3.4, sharey=True)
    tables = [table_of(rates, stds, partial(mean_accuracy, pairs, arm=arm)) for arm in (0, 1)]
    threshold = usable_threshold(pairs)
    for axis, values, title in zip(axes, tables, ("final accuracy without BN, %", "final accuracy with BN, %")):
        draw_table(axis, values, rates, stds, Normalize(0, max(map(np.max, tables))), "viridis")
        draw_edge(axis, values >= threshold, "usable")
        axis.set_title(title, fontsize=10, loc="left")
    axes[0].set_ylabel("initial deviation over He's")
    return figure


def points_of(pairs: MapPairs) -> tuple[list[float], list[float]]:
    """Return the rates and the deviations of a grid."""
    rates, stds = (sorted({point[axis] for point in pairs[0][0]}) for axis in (LR, STD))
    return rates, stds


def figure_maps(pairs: MapPairs) -> Drawing:
    rates, stds = points_of(pairs)
    figure, axes = new_figure(3, 13, 3.8, sharey=True)
    longest = max(float(run.column("accuracy")[0][-1]) for run in pairs[0][0].values())

    def steps_at(arm: int, point: tuple[float, float]) -> float:
        return median_steps([pair[arm][point] for pair in pairs])

    steps = [table_of(rates, stds, partial(steps_at, arm)) for arm in (0, 1)]
    gains = table_of(rates, stds, lambda point: median_gain(pairs, point))
    threshold = usable_threshold(pairs)
    for arm, (axis, values) in enumerate(zip(axes, steps)):
        draw_table(axis, values, rates, stds, LogNorm(FEWEST_STEPS, longest), "viridis_r")
        draw_edge(axis, table_of(rates, stds, partial(mean_accuracy, pairs, arm=arm)) >= threshold, "usable")
    draw_table(axes[2], gains, rates, stds, LogNorm(1 / LARGEST_GAIN, LARGEST_GAIN), "RdBu")
    draw_edge(axes[2], gains > 1, "usable")
    draw_edge(axes[2], gains >= PAPERS_GAIN, "paper")
    for axis, title in zip(axes, ("steps to 90 % without BN", "steps to 90 % with BN", "times fewer steps with BN")):
        axis.set_title(title, fontsize=10, loc="left")
    axes[0].set_ylabel("initial standard deviation")
    return figure


def table_of(rates: Sequence[float], stds: Sequence[float], value: Callable[[tuple[float, float]], float]) -> np.ndarray:
    return np.array([[value((rate, std)) for rate in rates] for std in stds])  # (stds, rates)


def draw_table(axis: Axes, values: np.ndarray, rates: Sequence[float], stds: Sequence[float], norm: Normalize, colors: str) -> None:
    """Draw a table (stds, rates) as a heat map with its numbers; what is 0, infinite or not a number has no colour."""
    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    edges = np.arange(len(rates) + 1), np.arange(len(stds) + 1)
    colours = axis.pcolormesh(*edges, shown, norm=norm, cmap=colors, edgecolors="white", linewidth=0.6)
    for row, column in np.ndindex(values.shape):
        red, green, blue, _ = colours.to_rgba(shown[row, column])
        is_dark = not np.isnan(shown[row, column]) and 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        words = in_a_cell(float(values[row, column]))
        axis.text(column + 0.5, row + 0.5, words, ha="center", va="center", fontsize=8, color="white" if is_dark else "black")
    axis.set_xticks(np.arange(len(rates)) + 0.5, [f"{rate:g}" for rate in rates])
    axis.set_yticks(np.arange(len(stds)) + 0.5, [f"{std:g}" for std in stds])
    axis.set(xlabel="learning rate")
    axis.grid(False)


def draw_edge(axis: Axes, is_inside: np.ndarray, kind: str) -> None:
    """Draw the edge of a region of cells (stds, rates)."""
    inside = np.pad(is_inside, 1)
    color, line = EDGES[kind]
    across, along = np.nonzero(inside[:, 1:] != inside[:, :-1]), np.nonzero(inside[1:] != inside[:-1])
    axis.vlines(across[1], across[0] - 1, across[0], color=color, linestyle=line, linewidth=2)
    axis.hlines(along[0], along[1] - 1, along[1], color=color, linestyle=line, linewidth=2)


def in_a_cell(value: float) -> str:
    if math.isnan(value):
        return ""
    return "∞" if math.isinf(value) else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
