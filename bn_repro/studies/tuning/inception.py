"""What the small Inception of tier `long` gets: base learning rate, decay, initial weights' rate, and each arm's own decay."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure as Drawing

from bn_repro.figures.style import COLOURS, LINES, STYLES, new_figure
from bn_repro.records.record import Run, find_runs
from bn_repro.studies.study import Drawn

RATES, DECAYS, PLATEAUS = "inception_protocol", "inception_decays", "inception_plateaus"  # experiments
TIER = "long"
LABELS = {"inception": "Inception", "bn_baseline": "BN-Baseline", "bn_x5": "BN-x5", "bn_x30": "BN-x30"}


class Point(NamedTuple):
    """Where an arm was tried.

    Args:
        lr, ratio: of the base, and last over first rate of the arm itself.
    """

    arm: str
    init: str
    lr: float
    ratio: float


def accuracies(root: Path, experiment: str) -> dict[Point, float]:
    """Return the last validation accuracy, in percent, of each point, a mean over its seeds."""
    found = defaultdict(list)
    for run in find_runs(root, experiment, TIER):
        config = run.config
        point = Point(config["arm"], config["network.init"], config["base.lr"], config["train.final_lr_ratio"])
        found[point].append(last_accuracy(run))
    return {point: float(np.mean(values)) for point, values in sorted(found.items())}


def last_accuracy(run: Run) -> float:
    return 100 * float(run.column("accuracy")[1][-1])


def best_rate(points: dict[Point, float], init: str = "he", ratio: float | None = None) -> Point:
    """Return the plain network's best point from initial weights `init`, of all decays or of one."""
    among = {point: value for point, value in points.items() if point.init == init and ratio in (None, point.ratio)}
    return max(among, key=lambda point: among[point])


def best_ratios(points: dict[Point, float]) -> dict[str, float]:
    """Return each arm's best last over first rate."""
    arms = {point.arm for point in points}
    return {arm: max((point for point in points if point.arm == arm), key=lambda point: points[point]).ratio for arm in sorted(arms)}


def draw_inception(root: Path, tier: str) -> Drawn | None:
    """Draw the grids of tier `long`, and say which points were chosen."""
    runs = [run for experiment in (RATES, DECAYS, PLATEAUS) for run in find_runs(root, experiment, tier)]
    rates, decays = accuracies(root, RATES), accuracies(root, DECAYS)
    if tier != TIER or not rates or not decays:
        return None
    chosen = [best_rate(rates, ratio=0.5), best_rate(rates), best_rate(rates, init="xavier")]
    words = ("decay to a half", "any decay", "Xavier's weights")
    note = "Best: " + "; ".join(f"{word}, {point.lr:g} ({rates[point]:.1f} %)" for word, point in zip(words, chosen))
    own = ", ".join(f"{LABELS[arm]} {ratio:g}" for arm, ratio in best_ratios(decays).items())
    return Drawn(figure(rates, decays), runs, f"{note}. Own decays: {own}.")


def figure(rates: dict[Point, float], decays: dict[Point, float]) -> Drawing:
    """Draw validation accuracy against the base learning rate, a curve a decay and initialization, and against the arms' decay."""
    panels, axes = new_figure(2, 9, 3.4, sharey=True)
    curves = sorted({(point.init, point.ratio) for point in rates})
    for number, (init, ratio) in enumerate(curves):
        series = [(point.lr, value) for point, value in rates.items() if (point.init, point.ratio) == (init, ratio)]
        name = {"he": "He", "xavier": "Xavier"}[init]
        axes[0].plot(
            *zip(*series), color=COLOURS[number], linestyle=LINES[number], marker="o", markersize=3, label=f"{name}, decay to {ratio:g}"
        )
    axes[0].set(xscale="log", xlabel="base learning rate, without BN", ylabel="validation accuracy, %")
    for arm, label in LABELS.items():
        series = [(point.ratio, value) for point, value in decays.items() if point.arm == arm]
        if series:
            style = STYLES[label]
            axes[1].plot(*zip(*series), color=style.color, linestyle=style.line, marker="o", markersize=3, label=label)
    axes[1].set(xscale="log", xlabel="last over first learning rate")
    ratios = sorted({point.ratio for point in decays})
    axes[1].set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axes[1].minorticks_off()
    for axis in axes:
        axis.legend(fontsize=8)
    return panels


def plateau(root: Path, lr: float, init: str = "he", ratio: float = 0.5) -> float:
    """Return the plain network's validation accuracy, in percent, after all steps at a base."""
    return accuracies(root, PLATEAUS)[Point("inception", init, lr, ratio)]
