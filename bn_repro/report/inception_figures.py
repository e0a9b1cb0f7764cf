"""How Figures 2 and 3 and the sweep of learning rates look with our records: data in, a Figure or rows out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bn_repro.measures.accuracy import CHANCE, best_accuracy, reached_infinity, smoothed_accuracy, steps_to_reach, target_of
from bn_repro.records.record import Run
from bn_repro.report.figures import STYLES, common_steps, draw_over_seeds, new_figure, thousands
from bn_repro.studies.section_4_2 import FIGURE_3
from bn_repro.studies.sweeps import final_accuracies, usable_threshold
from bn_repro.verdicts.selection import Sweep
from bn_repro.verdicts.statistics import mean_estimate

FIGURE_3_HEADERS = (
    "arm",
    "learning rate",
    "steps to {target:.1f} %",
    "best accuracy, %",
    "the paper's steps to 72.2 %",
    "the paper's best, %",
)


def figure_2(arms: Sequence[tuple[str, Sequence[Run]]]) -> Figure:
    """Draw smoothed test accuracy against training steps, on a linear axis as the paper's and on a logarithmic one."""
    figure, axes = new_figure(2, 10, 4.2, sharey=True)
    for axis in axes:
        for label, runs in arms:
            steps, accuracies = common_steps([smoothed_accuracy(run) for run in runs])
            draw_over_seeds(axis, label, steps, accuracies)
            if any(map(reached_infinity, runs)):
                axis.plot(steps[-1], accuracies[:, -1].mean(), marker="x", color=STYLES[label].color, markersize=7, clip_on=False)
        axis.axhline(CHANCE, color="#999999", linewidth=0.8, linestyle=":")
        axis.set(xlabel="training steps", ylim=(0, None))
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0].set(ylabel="test accuracy", xlim=(0, None))
    axes[0].xaxis.set_major_formatter(thousands)
    axes[1].set_xscale("log")
    axes[1].set_xlim(arms[0][1][0].config["train.eval_every"], None)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def figure_3(arms: Sequence[tuple[str, Sequence[Run]]]) -> tuple[tuple[str, ...], ...]:
    """Return the rows of Figure 3, a header first: our numbers beside the paper's; the first arm sets the target."""
    target = target_of(list(arms[0][1]))
    paper = {label: (steps, best) for _, label, steps, best in FIGURE_3}
    rows = [tuple(header.format(target=target) for header in FIGURE_3_HEADERS)]
    for label, runs in arms:
        needed = [steps_to_reach(run, target) for run in runs]
        reached = [steps for steps in needed if steps is not None]
        steps = f"{np.mean(reached):,.0f}" if reached else "never"
        if reached and len(reached) < len(runs):
            steps += f" ({len(reached)} of {len(runs)} seeds)"
        best = mean_estimate([best_accuracy(run) for run in runs])
        interval = f" [{max(best.low, 0):.1f}, {min(best.high, 100):.1f}]" if best.n > 1 else ""
        diverged = sum(map(reached_infinity, runs))
        note = f"; {diverged:.0f} of {len(runs)} reached infinity" if diverged else ""
        paper_steps, paper_best = paper[label]
        rows.append(
            (
                label,
                f"{runs[0].config['train.lr']:g}",
                steps,
                f"{best.mean:.1f}{interval}{note}",
                f"{paper_steps:g} million" if paper_steps else "never" if paper_best else "-",
                f"{paper_best:g}" if paper_best else "-",
            )
        )
    return tuple(rows)


def figure_sweep(networks: Sequence[tuple[str, Sequence[tuple[str, Sequence[Sweep]]]]]) -> Figure:
    """Draw final accuracy against learning rate, a panel per network; the dotted line is the least accuracy of a usable rate."""
    figure, axes = new_figure(len(networks), 4.8 * len(networks), 3.6, sharey=True)
    for axis, (network, norms) in zip(axes, networks):
        for label, sweeps in norms:
            rates = np.array(list(sweeps[0]))
            draw_over_seeds(axis, label, rates, np.array([list(final_accuracies(sweep).values()) for sweep in sweeps]))
        axis.axhline(usable_threshold(norms[0][1]), color="#999999", linewidth=0.9, linestyle=":")
        axis.set(xscale="log", xlabel="learning rate", ylim=(0, 1))
        axis.set_title(network, fontsize=10, loc="left")
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0].set_ylabel("final test accuracy")
    axes[0].legend(loc="lower left", fontsize=8)
    return figure
