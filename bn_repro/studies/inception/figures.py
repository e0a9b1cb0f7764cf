"""Figures 2 and 3 at each base, and the speed-up as a curve: over the target, and over the learning rate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from bn_repro.figures.style import STYLES, Arm, Style, common_steps, draw_over_seeds, new_figure, thousands
from bn_repro.measures.accuracy import CHANCE, best_accuracy, final_accuracy, reached_infinity, smoothed_accuracy, speedup, steps_to_reach
from bn_repro.records.record import Run
from bn_repro.studies.inception.measures import BASES, FIGURE_3, LABELS, PAPERS_RATE, TUNED, Base, lowest_peak, speedup_at, target_at
from bn_repro.studies.study import Drawn, Rows
from bn_repro.verdicts.numbers import number
from bn_repro.verdicts.selection import runs_of
from bn_repro.verdicts.statistics import Mean

HEADERS = (
    "arm", "learning rate", "steps to the target", "times fewer steps", "final accuracy, %",
    "paper: steps to 72.2 %", "paper: times fewer", "paper: best, %",
)  # fmt: skip
RATE_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
STEP_TICKS = (1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 10_000, 12_000, 16_000)
SPEEDUPS = (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15)  # that an axis names
PAPERS_STEPS = FIGURE_3[0][2]  # million, of the plain network
LOWEST_TARGET = 20.0  # percent, from which speed-ups are drawn
# What has the same rate without and with BN.
RATES = (("inception", "bn_baseline"), ("inception_x5", "bn_x5"), ("inception_x30", "bn_x30"))


def curve(run: Run, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, smoothed accuracies); of a run that ended early, at chance from there to step `last`."""
    steps, accuracies = smoothed_accuracy(run)
    every = run.config["train.eval_every"]
    missing = np.arange(every * (steps[-1] // every + 1), last + 1, every)
    return np.append(steps, missing), np.append(accuracies, np.full(len(missing), CHANCE))


def figure_2(arms: Sequence[Arm]) -> Drawing:
    """Draw smoothed test accuracy against training steps, on a linear axis as the paper's and on a logarithmic one."""
    figure, axes = new_figure(2, 10, 4.2, sharey=True)
    last = max(run.config["train.steps"] for _, runs in arms for run in runs)
    for axis in axes:
        for label, runs in arms:
            steps, accuracies = common_steps([curve(run, last) for run in runs])
            draw_over_seeds(axis, label, steps, accuracies)
            for run in filter(reached_infinity, runs):
                axis.plot(run.summary["steps"], CHANCE, marker="x", color=STYLES[label].color, markersize=7, clip_on=False)
        axis.axhline(CHANCE, color="#999999", linewidth=0.8, linestyle=":")
        axis.set(xlabel="training steps", ylim=(0, None))
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0].set(ylabel="test accuracy", xlim=(0, None))
    axes[0].xaxis.set_major_formatter(thousands)
    axes[1].set_xscale("log")
    axes[1].set_xlim(arms[0][1][0].config["train.eval_every"], None)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def figure_3(base: Base, arms: Sequence[Arm]) -> Rows:
    """Return the rows of Figure 3, a header first: our numbers beside the paper's. Times fewer are than the first arm's."""
    paper = {label: (steps, best) for _, label, steps, best in FIGURE_3}
    _, plain = arms[0]
    target = target_at(plain[0], base.targets)
    return (HEADERS, *(row_of_figure_3(label, runs, plain, target, *paper.get(label, (None, None))) for label, runs in arms))


def row_of_figure_3(
    label: str, runs: Sequence[Run], plain: Sequence[Run], target: float | None, paper_steps: float | None, paper_best: float | None
) -> tuple[str, ...]:
    final = Mean([final_accuracy(run) for run in runs])
    interval = f" [{max(final.low, 0):.1f}, {min(final.high, 100):.1f}]" if final.n > 1 else ""
    diverged = sum(map(reached_infinity, runs))
    note = f"; {diverged} of {len(runs)} reached infinity" if diverged else ""
    fewer = None if target is None or runs is plain else speedup(target)(list(zip(plain, runs)))
    paper_fewer = PAPERS_STEPS / paper_steps if paper_steps else 1
    return (
        label,
        f"{runs[0].config['train.lr']:g}",
        "-" if target is None else f"{steps_in_words(runs, target)} (to {target:.1f} %)",
        number(fewer.value) if fewer and fewer.lows == fewer.highs else "-",  # else some seed did not arrive
        f"{final.value:.1f}{interval}{note}",
        f"{paper_steps:g} million" if paper_steps else "never" if paper_best else "-",
        f"{paper_fewer:.1f}" if paper_fewer > 1 else "-",
        f"{paper_best:g}" if paper_best else "-",
    )


def steps_in_words(runs: Sequence[Run], target: float) -> str:
    needed = [steps_to_reach(run, target) for run in runs]
    reached = [steps for steps in needed if steps is not None]
    if not reached:
        return "never"
    arrived = f", {len(reached)} of {len(runs)} seeds" if len(reached) < len(runs) else ""
    return f"{np.mean(reached):,.0f}{arrived}"


def speedup_by_target(root: Path, tier: str) -> Drawn | None:
    """Draw, for each base, how many times fewer steps each arm with BN needs than the plain network of its seed, over the target."""
    found = {base: {arm: runs_of(root, base.arm(arm), tier) for arm in ("inception", "bn_baseline", "bn_x5", "bn_x30")} for base in BASES}
    missed = {base: [seed for seed, run in arms["inception"].items() if best_accuracy(run) < LOWEST_TARGET] for base, arms in found.items()}
    found = {
        base: {arm: {seed: run for seed, run in runs.items() if seed not in missed[base]} for arm, runs in arms.items()}
        for base, arms in found.items()
    }
    found = {base: arms for base, arms in found.items() if arms["inception"] and arms["bn_baseline"]}
    if not found:
        return None
    notes = [
        f"{base.short_title}: without {len(missed[base])} seeds whose plain network never reaches {LOWEST_TARGET:g} %"
        for base in found
        if missed[base]
    ]
    figure, axes = new_figure(len(found), 3.2 * len(found) + 1.6, 3.6, sharey=True)
    shown: list[Run] = []
    for axis, (base, arms) in zip(axes, found.items()):
        plain = arms.pop("inception")
        targets = np.linspace(LOWEST_TARGET, lowest_peak(list(plain.values())), 30)
        for arm, runs in arms.items():
            seeds = sorted(plain.keys() & runs.keys())
            if seeds:
                ratios = speedup_at([plain[seed] for seed in seeds], [runs[seed] for seed in seeds], targets)
                arrive = ~np.isnan(ratios).any(0)
                draw_over_seeds(axis, LABELS[arm], targets[arrive], ratios[:, arrive])
                shown += [*(plain[seed] for seed in seeds), *(runs[seed] for seed in seeds)]
        axis.axhline(1, color="#999999", linewidth=0.8, linestyle=":")
        axis.set(xlabel="target, % of the test images", yscale="log")
        axis.set_title(base.short_title, fontsize=9)
    axes[0].set(ylabel="times fewer steps than without BN")
    name_ticks(axes[0].yaxis, SPEEDUPS)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return Drawn(figure, shown, f"{'; '.join(notes)}." if notes else "")


def speedup_by_rate(root: Path, tier: str) -> Drawn | None:
    """Draw steps to one target against the learning rate, without and with BN, over the arms of both bases."""
    target = dict(TUNED.targets).get(tier)
    points = [
        (float(next(iter(runs.values())).config["train.lr"]), arm.startswith("bn"), base, list(runs.values()))
        for base in (TUNED, PAPERS_RATE)
        for pair in RATES
        for arm in pair
        if (runs := runs_of(root, base.arm(arm), tier))
    ]
    if target is None or len({rate for rate, *_ in points}) < 3:
        return None
    figure, (axis,) = new_figure(1, 8.4, 4)
    longest = max(run.config["train.steps"] for *_, runs in points for run in runs)
    for base, marker in ((TUNED, "o"), (PAPERS_RATE, "s")):
        for has_bn, label in ((False, "without BN"), (True, "with BN")):
            drawn = sorted(
                (rate, [steps_to_reach(run, target) for run in runs]) for rate, is_bn, of, runs in points if (is_bn, of) == (has_bn, base)
            )
            if drawn:
                draw_rates(axis, drawn, longest, STYLES[label], marker, f"{label}; {base.short_title}")
    axis.axhline(longest, color="#999999", linewidth=0.8, linestyle=":")
    axis.set(xscale="log", yscale="log", xlabel="initial learning rate", ylabel=f"steps to {target:.1f} % (hollow: not within {longest:,})")
    name_ticks(axis.xaxis, RATE_TICKS)
    name_ticks(axis.yaxis, STEP_TICKS)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return Drawn(figure, [run for *_, runs in points for run in runs])


def draw_rates(
    axis: Axes, drawn: Sequence[tuple[float, list[float | None]]], longest: float, style: Style, marker: str, label: str
) -> None:
    """Draw a mark per seed at each rate, hollow where it does not arrive, and a line through the means."""
    means = [np.mean([longest if steps is None else steps for steps in needed]) for _, needed in drawn]
    axis.plot([rate for rate, _ in drawn], means, color=style.color, linestyle=style.line, linewidth=1.2, marker=marker, markersize=0)
    for rate, needed in drawn:
        for steps in needed:
            axis.plot(rate, steps or longest, marker=marker, color=style.color, markersize=5, fillstyle="full" if steps else "none")
    axis.plot([], [], color=style.color, linestyle=style.line, marker=marker, markersize=5, label=label)


def name_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Name these ticks in plain numbers, and no others, on a logarithmic axis."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value < 1_000 else f"{value:,.0f}"))
    axis.set_minor_locator(NullLocator())
