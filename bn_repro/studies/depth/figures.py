"""How depth and saturation look: accuracy over depth, which trials train, and saturation and gradients by layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import draw_over_seeds, new_figure
from bn_repro.measures.accuracy import final_accuracy
from bn_repro.records.record import Run
from bn_repro.studies.covariate_shift.measures import by_layer
from bn_repro.studies.depth.measures import DEPTHS, NONLINEARITIES, cells_of, saturated_by_layer, saturating_runs
from bn_repro.studies.learning_rates import at_best_lr
from bn_repro.studies.study import Drawn
from bn_repro.verdicts.selection import Map

TRAINED = 50  # percent of the test images
ARMS = (
    ("without BN", "none"),
    ("with BN", "batch"),
    ("with layer norm", "layer"),
    ("with group norm", "group"),
    ("Goldberg's layer norm", "goldberg"),
)
Arms = dict[str, list[Run]]  # by label


def draw_depths(root: Path, tier: str) -> Drawn | None:
    """Draw final accuracy against depth, a panel per nonlinearity and a curve per norm, each seed at the point that the others prefer."""
    curves, runs, num_seeds = [], [], 0
    for nonlinearity in NONLINEARITIES:
        shown = {}
        for label, cells in compared_cells(nonlinearity, root, tier).items():
            best = [at_best_lr(of_depth) for of_depth in cells]
            runs += [run for of_depth in best for run in of_depth]
            num_seeds = max(num_seeds, len(best[0]))
            shown[label] = np.array([[final_accuracy(run) for run in of_depth] for of_depth in best]).T
        curves.append((nonlinearity, shown))
    if not all(shown for _, shown in curves):
        return None
    return Drawn(figure_curves(curves, DEPTHS, "hidden layers", "final test accuracy", 100), runs, f"n = {num_seeds}.")


def compared_cells(nonlinearity: str, root: Path, tier: str) -> dict[str, list[list[Map]]]:
    """Return by label, at each depth, the trials of the seeds that the claims compare: those of both main arms, at all depths."""
    found = {label: [cells_of(nonlinearity, depth, root, f"depth/{arm}", tier) for depth in DEPTHS] for label, arm in ARMS}
    seeds_of = {label: set.intersection(*map(set, cells)) for label, cells in found.items()}
    compared = seeds_of["without BN"] & seeds_of["with BN"]
    chosen = {label: sorted(seeds & compared) for label, seeds in seeds_of.items()}
    return {label: [[of_depth[seed] for seed in chosen[label]] for of_depth in cells] for label, cells in found.items() if chosen[label]}


def table_of_depths(root: Path, tier: str) -> Drawn | None:
    """Return a row for each nonlinearity and norm: accuracy by depth, as in `draw_depths`, and how many trials train in all seeds."""
    rows, runs = [], []
    for nonlinearity in NONLINEARITIES:
        for label, cells in compared_cells(nonlinearity, root, tier).items():
            rows.append((nonlinearity, label, *map(in_a_cell, cells)))
            runs += [run for of_depth in cells for trials in of_depth for run in trials.values()]
    headers = ("nonlinearity", "norm", *(f"{depth} layers" for depth in DEPTHS))
    return Drawn((headers, *rows), runs) if rows else None


def in_a_cell(cells: Sequence[Map]) -> str:
    """Write the accuracy at the best trial, and how many train, as `96.1 % (3 of 4)`."""
    trained = [all(final_accuracy(trials[point]) > TRAINED for trials in cells) for point in cells[0]]
    return f"{np.mean([final_accuracy(run) for run in at_best_lr(cells)]):.1f} % ({sum(trained)} of {len(trained)})"


def draw_saturation(root: Path, tier: str) -> Drawn | None:
    """Draw the saturated share against the layer, a panel per nonlinearity and a curve per norm."""
    found = saturated_arms(root, tier)
    if not found:
        return None
    curves = [
        (name, {label: np.array([saturated_by_layer(run) for run in runs]) for label, runs in arms.items() if runs}) for name, arms in found
    ]
    layers = range(1, len(curves[0][1]["with BN"][0]) + 1)
    figure = figure_curves(curves, layers, "hidden layer", "saturated inputs of nonlinearities", 1)
    return Drawn(figure, runs_of_panels(found))


def draw_gradients(root: Path, tier: str) -> Drawn | None:
    """Draw the gradients' size against the layer before training, a panel per nonlinearity and a curve per norm."""
    found = saturated_arms(root, tier)
    if not found:
        return None
    curves = [(name, {label: first_gradients(runs) for label, runs in arms.items() if runs}) for name, arms in found]
    layers = range(1, len(curves[0][1]["with BN"][0]) + 1)
    figure = figure_curves(curves, layers, "hidden layer", "gradient in the weights (root mean square)", None)
    return Drawn(figure, runs_of_panels(found))


def first_gradients(runs: Sequence[Run]) -> np.ndarray:
    """Return (seeds, layers): the root mean square of the gradient in each layer's weights before the first step."""
    return np.array([[series[0] for series in by_layer(run, "magnitudes", "weight_gradient")[1].values()] for run in runs])


def saturated_arms(root: Path, tier: str) -> list[tuple[str, Arms]]:
    """Return (nonlinearity, {label: runs}) of the networks from weights that saturate; none without those of both main arms."""
    found = [
        (nonlinearity, {label: list(saturating_runs(nonlinearity, root, f"saturation/{arm}", tier).values()) for label, arm in ARMS})
        for nonlinearity in NONLINEARITIES
    ]
    return found if all(arms["without BN"] and arms["with BN"] for _, arms in found) else []


def runs_of_panels(found: Sequence[tuple[str, Arms]]) -> list[Run]:
    return [run for _, arms in found for of_arm in arms.values() for run in of_arm]


def figure_curves(
    panels: Sequence[tuple[str, dict[str, np.ndarray]]], x: Sequence[int], x_label: str, y_label: str, whole: float | None
) -> Drawing:
    """Draw curves (seeds, len(x)) of each panel, shares of `whole` or, without it, on a logarithmic axis."""
    figure, axes = new_figure(len(panels), 9, 3.4, sharey=True)
    for axis, (title, curves) in zip(axes, panels):
        for label, values in curves.items():
            draw_over_seeds(axis, label, np.array(x), values)
        axis.set(xlabel=x_label, xticks=list(x))
        axis.set_title(title, fontsize=10, loc="left")
        if whole is None:
            axis.set_yscale("log")
        else:
            axis.yaxis.set_major_formatter(PercentFormatter(whole, decimals=0))
    axes[0].set(ylabel=y_label, ylim=(None if whole is None else 0, None))  # of all panels, once all are drawn
    axes[-1].legend(fontsize=8)
    return figure
