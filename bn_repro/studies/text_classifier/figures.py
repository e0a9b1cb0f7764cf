"""How the heads' accuracies look over learning rates, what their inputs do, and how well the language model predicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import STYLES, Arm, columns_of, draw_over_seeds, new_figure
from bn_repro.measures.accuracy import steps_to_reach
from bn_repro.measures.drift import BEFORE_NORM, drift
from bn_repro.records.record import Run
from bn_repro.studies.study import Drawn
from bn_repro.studies.text_classifier.measures import CHANCE, accuracy, at_best_rate
from bn_repro.verdicts.numbers import in_a_cell, number
from bn_repro.verdicts.selection import Sweep, runs_in, runs_of, sweeps_of
from bn_repro.verdicts.statistics import Mean

FROZEN = (
    ("100 labels", "text_head_100", "words_100"),
    ("1,000 labels", "text_head", "words_1000"),
    ("all labels", "text_head_all", "words_all"),
)
HEADS = (*FROZEN, ("fine-tuned, 1,000 labels", "text_fine_tuning", "words_1000"))
NORMS = (("without BN", "none"), ("with BN", "batch"), ("with layer norm", "layer"))
WITHOUT_NORM = (("standardized, without BN", "head_standardized"), ("no dropout, twice the steps, without BN", "head_long"))
WORDS = "text_bag_of_words"
SHARE = 0.9  # of the way from chance to where the head without a norm ends: what steps are counted to
FIRST_INPUT, SECOND_INPUT = "head.blocks.0/before_norm", "head.blocks.1/before_norm"


def draw_rates(root: Path, tier: str) -> Drawn | None:
    """Draw accuracy over learning rates, a panel for each number of labels that has sweeps without BN and with."""
    panels, runs = [], []
    for title, experiment, words in HEADS:
        norms = {label: sweeps_of(root, f"{experiment}/{arm}", tier) for label, arm in (*NORMS, *WITHOUT_NORM)}
        seeds = compared_seeds(norms)
        shown = {label: [sweep for seed, sweep in sweeps.items() if seed in seeds] for label, sweeps in norms.items()}
        shown = {label: sweeps for label, sweeps in shown.items() if sweeps}
        if seeds:
            baseline = list(runs_of(root, f"{WORDS}/{words}", tier).values())
            panels.append((title, shown, baseline))
            runs += [*baseline, *(run for sweeps in shown.values() for sweep in sweeps for run in runs_in(sweep))]
    if not panels:
        return None
    note = "; ".join(f"{title}: n = {len(shown['with BN'])}" for title, shown, _ in panels)
    return Drawn(figure_rates(panels), runs, f"{note}.")


def figure_rates(panels: Sequence[tuple[str, Mapping[str, Sequence[Sweep]], Sequence[Run]]]) -> Drawing:
    figure, axes = new_figure(len(panels), max(4.8, 3.4 * len(panels)), 4.4, sharey=True)
    for axis, (title, norms, baseline) in zip(axes, panels):
        for label, sweeps in norms.items():
            values = np.array([list(map(accuracy, sweep.values())) for sweep in sweeps])
            draw_over_seeds(axis, label, np.array(list(sweeps[0])), values)
        if baseline:
            axis.axhline(float(np.mean(list(map(accuracy, baseline)))), color="#555555", linewidth=0.9, linestyle=":", label="bag of words")
        axis.set(xscale="log", xlabel="learning rate", ylim=(CHANCE - 5, 95))
        axis.set_title(title, fontsize=10, loc="left")
        axis.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
    axes[0].set_ylabel("final test accuracy")
    draw_legend_below(figure, axes)
    return figure


def draw_steps(root: Path, tier: str) -> Drawn | None:
    """Draw the heads' accuracy over steps, each arm at its best learning rate, a panel for each number of labels that has both arms."""
    panels, runs = [], []
    for title, experiment, _ in FROZEN:
        found = {label: at_best_rate(root, f"{experiment}/{arm}", tier) for label, arm in (*NORMS, *WITHOUT_NORM)}
        seeds = compared_seeds(found)
        arms = [(label, [run for seed, run in of_seeds.items() if seed in seeds]) for label, of_seeds in found.items()]
        if seeds:
            panels.append((title, [(label, of_arm) for label, of_arm in arms if of_arm]))
            runs += [run for _, of_arm in arms for run in of_arm]
    if not panels:
        return None
    note = "; ".join(f"{title}: n = {len(arms[0][1])}" for title, arms in panels)
    return Drawn(figure_steps(panels), runs, f"{note}.")


def figure_steps(panels: Sequence[tuple[str, Sequence[Arm]]]) -> Drawing:
    figure, axes = new_figure(len(panels), max(4.8, 3.4 * len(panels)), 4.4, sharey=True)
    for axis, (title, arms) in zip(axes, panels):
        for label, runs in arms:
            steps, values = columns_of(runs, "accuracy")
            draw_over_seeds(axis, label, steps[1:], 100 * values[:, 1:])  # the axis has no place for step 0
        axis.set(xscale="log", xlabel="training steps")
        axis.set_title(title, fontsize=10, loc="left")
        axis.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
    axes[0].set_ylabel("test accuracy")
    draw_legend_below(figure, axes)
    return figure


def tabulate_heads(root: Path, tier: str) -> Drawn | None:
    """List what each head reaches at its best learning rate, and in how many steps, beside the bag of words."""
    rows, runs, notes = [("labels", "head", "learning rate", "accuracy, %", "steps")], [], []
    for title, experiment, words in HEADS:
        by_seed = {label: at_best_rate(root, f"{experiment}/{arm}", tier) for label, arm in (*NORMS, *WITHOUT_NORM)}
        seeds = compared_seeds(by_seed)
        if not seeds:
            continue
        found = {label: [run for seed, run in of_arm.items() if seed in seeds] for label, of_arm in by_seed.items()}
        plain = found["without BN"]
        notes.append(f"{title}: n = {len(seeds)}")
        target = CHANCE + SHARE * (float(np.mean(list(map(accuracy, plain)))) - CHANCE)
        for label, of_arm in found.items():
            if of_arm:
                rates = sorted({run.config["train.lr"] for run in of_arm})
                reached = in_a_cell(Mean(list(map(accuracy, of_arm))))
                rows.append((title, label, ", ".join(f"{rate:g}" for rate in rates), reached, steps_in_a_cell(of_arm, target)))
        baseline = list(runs_of(root, f"{WORDS}/{words}", tier).values())
        if baseline:
            rows.append((title, "bag of words", "-", in_a_cell(Mean(list(map(accuracy, baseline)))), "-"))
        runs += [*(run for of_arm in found.values() for run in of_arm), *baseline]
    return Drawn(tuple(rows), runs, f"{'; '.join(notes)}.") if runs else None


def compared_seeds(by_seed: Mapping[str, Mapping[int, Any]]) -> set[int]:
    """Return the seeds that the claims compare, which both main arms have."""
    return by_seed["without BN"].keys() & by_seed["with BN"].keys()


def steps_in_a_cell(runs: Sequence[Run], target: float) -> str:
    """Write the mean number of steps to a target, where every run arrives."""
    steps = [steps_to_reach(run, target) for run in runs]
    return "-" if None in steps else number(float(np.mean(steps)))  # type: ignore[arg-type]


def tabulate_drift(root: Path, tier: str) -> Drawn | None:
    """List how far the distributions of what both layers of the head read move while the encoder is fine-tuned."""
    by_seed = {label: at_best_rate(root, f"text_fine_tuning/{norm}", tier) for label, norm in NORMS[:2]}
    seeds = compared_seeds(by_seed)
    if not seeds:
        return None
    found = {label: [run for seed, run in of_arm.items() if seed in seeds] for label, of_arm in by_seed.items()}
    rows: list[tuple[str, ...]] = [("head", "learning rate", "pooled outputs of the encoder", "inputs of the second layer")]
    for label, runs in found.items():
        moved = np.array([drift(run.activations, BEFORE_NORM)["kolmogorov_smirnov_to_final"] for run in runs])  # (seeds, layers)
        rates = sorted({run.config["train.lr"] for run in runs})
        rows.append((label, ", ".join(f"{rate:g}" for rate in rates), *(in_a_cell(Mean(list(column))) for column in moved.T[:2])))
    return Drawn(tuple(rows), [run for runs in found.values() for run in runs], f"n = {len(seeds)}.")


def draw_legend_below(figure: Drawing, axes: Sequence[Axes]) -> None:
    """Name each line once that any of the panels has."""
    lines = {str(line.get_label()): line for axis in axes for line in axis.get_legend_handles_labels()[0]}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=min(3, len(axes) + 1), fontsize=8, frameon=False)


def draw_inputs(root: Path, tier: str) -> Drawn | None:
    """Draw what both layers of the head read over fine-tuning, without BN and with, each at its best learning rate."""
    found = {label: at_best_rate(root, f"text_fine_tuning/{norm}", tier) for label, norm in NORMS[:2]}
    seeds = sorted(set.intersection(*map(set, found.values())))
    if not seeds:
        return None
    arms = [(label, [runs[seed] for seed in seeds]) for label, runs in found.items()]
    return Drawn(figure_inputs(arms), [run for _, runs in arms for run in runs], f"n = {len(seeds)}.")


def figure_inputs(arms: Sequence[Arm]) -> Drawing:
    """Draw the percentiles of the inputs of the head's first layer and of its second, over steps."""
    figure, axes = new_figure(2, 9, 3.4)
    for axis, site, title in zip(axes, (FIRST_INPUT, SECOND_INPUT), ("pooled outputs of the encoder", "inputs of the second layer")):
        for label, runs in arms:
            steps = runs[0].activations["step"]
            values = np.stack([run.activations[f"{site}/percentiles"] for run in runs])  # (seeds, rows, percentiles)
            for which in range(values.shape[2]):
                draw_over_seeds(axis, label, steps, values[:, :, which])
        axis.set(xlabel="training steps")
        axis.set_title(title, fontsize=10, loc="left")
    axes[0].set_ylabel("15, 50 and 85 percentiles")
    handles = [axes[0].plot([], [], color=STYLES[label].color, linestyle=STYLES[label].line)[0] for label, _ in arms]
    axes[0].legend(handles, [label for label, _ in arms], fontsize=8)
    return figure


def tabulate_language_model(root: Path, tier: str) -> Drawn | None:
    """List the perplexity of the language model beside those of counting."""
    runs = list(runs_of(root, "text_language_model/none", tier).values())
    if not runs:
        return None
    (run, *_) = runs
    names = (("AWD-LSTM", "perplexity"), ("trigrams (Kneser-Ney)", "perplexity_trigram"), ("unigrams", "perplexity_unigram"))
    rows = (("predicted by", "perplexity"), *((label, f"{run.summary[name]:.1f}") for label, name in names))
    return Drawn(rows, [run])
