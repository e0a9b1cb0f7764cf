"""Does BN make larger learning rates usable, and is it better at its best one? (abstract, sections 3.3, 4.2.1)"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import draw_over_seeds, new_figure
from bn_repro.measures.accuracy import CHANCE, accuracy_difference, final_accuracy
from bn_repro.records.record import Run
from bn_repro.studies.study import Answers, Drawn, Figure, Study
from bn_repro.verdicts.censored import GridRatio
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import Sweep, runs_in, sweeps_of
from bn_repro.verdicts.statistics import Mean

SweepPairs = Sequence[tuple[Sweep, Sweep]]  # of one seed: (reference, subject)
NETWORKS = (("sigmoid network, section 4.1", "lr_sweep"), ("small Inception, section 4.2", "lr_sweep_inception"))
WORDS = {"mlp": "sigmoid network", "inception": "small Inception"}
NORMS = (
    ("without BN", "none"),
    ("with BN", "batch"),
    ("with layer norm", "layer"),
    ("with group norm", "group"),
    ("with noisy BN", "noisy_batch"),
    ("with noise, without BN", "noisy_none"),
)


def usable_threshold(references: Sequence[Sweep]) -> float:
    """Return the accuracy, in percent, from which a learning rate counts as usable: halfway from chance to the references' best."""
    best = np.mean([max(map(final_accuracy, sweep.values())) for sweep in references])
    return float((100 * CHANCE + best) / 2)


def largest_usable_lr(sweep: Sweep, threshold: float) -> float | None:
    """Return the largest learning rate whose run ended at `threshold` percent or above, or None."""
    return max((lr for lr, run in sweep.items() if final_accuracy(run) >= threshold), default=None)


def usable_ratio(pairs: SweepPairs) -> GridRatio:
    """Return the subject's largest usable learning rate over the reference's, seed by seed.

    Each limit lies somewhere between a rate of the grid and the next, so that a ratio lies between two bounds.
    """
    threshold = usable_threshold([reference for reference, _ in pairs])
    limits = [(limit_of(reference, threshold), limit_of(subject, threshold)) for reference, subject in pairs]
    return GridRatio(
        [low / high_of_reference if high_of_reference < np.inf else 0.0 for (_, high_of_reference), (low, _) in limits],
        [high / low_of_reference if low_of_reference > 0 else np.inf for (low_of_reference, _), (_, high) in limits],
    )


def limit_of(sweep: Sweep, threshold: float) -> tuple[float, float]:
    """Return between which two rates the usable ones end: (0, the lowest) if none is usable, (the largest, infinity) if all are."""
    rates, largest = sorted(sweep), largest_usable_lr(sweep, threshold)
    if largest is None:
        return 0.0, rates[0]
    return largest, next((lr for lr in rates if lr > largest), np.inf)


def at_best_lr(sweeps: Sequence[Mapping[Any, Run]]) -> list[Run]:
    """Return each seed's run at the learning rate that is best for the other seeds."""
    table = np.array([list(map(final_accuracy, sweep.values())) for sweep in sweeps])  # (seeds, rates)
    chosen = []
    for seed, sweep in enumerate(sweeps):
        others = np.delete(table, seed, axis=0) if len(table) > 1 else table
        chosen.append(list(sweep.values())[others.mean(axis=0).argmax()])
    return chosen


def difference_at_best_lr(pairs: SweepPairs) -> Mean:
    """Return how much more accurate the subject is, in percentage points, each at its own best learning rate."""
    references, subjects = (at_best_lr(sweeps) for sweeps in zip(*pairs))
    return accuracy_difference(list(zip(references, subjects)))


def sweep_claims(suffix: str, network: str, experiment: str, size_in_points: float) -> Sequence[Claim]:
    """List what the sweep says of one network; the paper trains BN at 30 times the rate, and could not train at 5 times without."""
    reference, subject = f"{experiment}/none", f"{experiment}/batch"
    return (
        Claim(
            id=f"lr-range-{suffix}",
            section="4.2.1",
            says=f"{network}: BN makes larger learning rates usable",
            paper="6 x: x30 over x5; x30 trains, x5 without BN fails",
            unit="x",
            reference=reference,
            subject=subject,
            control=reference,
            select=sweeps_of,
            measure=usable_ratio,
            rule=Above(1, 6),
            headline=f"{network}: larger learning rates" if suffix == "inception" else "",
        ),
        Claim(
            id=f"lr-best-{suffix}",
            section="4.2.1",
            says=f"{network}: BN ends higher, each at its best learning rate",
            paper="higher",
            unit="points",
            reference=reference,
            subject=subject,
            control=reference,
            select=sweeps_of,
            measure=difference_at_best_lr,
            rule=Above(0, size_in_points),
        ),
    )


def draw_sweeps(root: Path, tier: str) -> Drawn | None:
    """Draw the networks that have sweeps with and without BN, and those of other norms beside."""
    panels, runs = [], []
    for network, experiment in NETWORKS:
        norms = {label: sweeps_of(root, f"{experiment}/{norm}", tier) for label, norm in NORMS}
        seeds = norms["without BN"].keys() & norms["with BN"].keys()
        shown = {label: [sweep for seed, sweep in sweeps.items() if seed in seeds] for label, sweeps in norms.items()}
        shown = {label: sweeps for label, sweeps in shown.items() if sweeps}
        if seeds:
            panels.append((network, shown))
            runs += [run for sweeps in shown.values() for sweep in sweeps for run in runs_in(sweep)]
    if not panels:
        return None
    note = "; ".join(f"{network}: n = {len(shown['with BN'])}" for network, shown in panels)
    return Drawn(figure_sweep(panels), runs, f"{note}.")


def figure_sweep(networks: Sequence[tuple[str, Mapping[str, Sequence[Sweep]]]]) -> Drawing:
    """Draw final accuracy against learning rate, a panel per network; the dotted line is the least accuracy of a usable rate."""
    figure, axes = new_figure(len(networks), 4.8 * len(networks), 3.6)
    for axis, (network, norms) in zip(axes, networks):
        for label, sweeps in norms.items():
            accuracies = np.array([list(map(final_accuracy, sweep.values())) for sweep in sweeps])
            draw_over_seeds(axis, label, np.array(list(sweeps[0])), accuracies)
        axis.axhline(usable_threshold(norms["without BN"]), color="#999999", linewidth=0.9, linestyle=":")
        axis.set(xscale="log", xlabel="learning rate", ylim=(0, None))
        axis.set_title(network, fontsize=10, loc="left")
        axis.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
    axes[0].set_ylabel("final test accuracy")
    axes[0].legend(loc="lower left", fontsize=8)
    return figure


def answer_in_words(answers: Answers) -> str:
    """Say for each network that has runs how much larger rates BN can use, and how much higher it ends."""
    run = [name for name in ("mlp", "inception") if answers[f"lr-range-{name}"].verdict != NOT_RUN]
    ranges = " and ".join(f"{in_words(answers[f'lr-range-{name}'])} in the {WORDS[name]}" for name in run)
    respectively = ", respectively" if len(run) > 1 else ""
    gains = " and ".join(in_words(answers[f"lr-best-{name}"]) for name in run)
    return (
        f"The largest usable learning rate is larger with BN: {ranges}. Each at its best rate, BN ends {gains} higher{respectively}."
        if run
        else ""
    )


STUDY = Study(
    name="learning_rates",
    title="Learning rates",
    sections="3.3, 4.2.1",
    question="Does BN make larger learning rates usable, and does it end higher at its best one?",
    experiments=("lr_sweep", "lr_sweep_inception"),
    claims=(
        *sweep_claims("mlp", "Sigmoid network", "lr_sweep", size_in_points=0.2),
        *sweep_claims("inception", "Small Inception", "lr_sweep_inception", size_in_points=1),
    ),
    figures=(
        Figure(
            name="lr-sweep",
            title="Final accuracy against learning rate, with and without BN",
            caption="Final test accuracy after the same number of steps; a run that diverged counts as chance. Lines are means over seeds, "
            "bands run from the lowest to the highest seed. A learning rate counts as usable above the dotted line, which is halfway from "
            "chance to the best without BN.",
            alt="A panel per network: accuracy rises with the learning rate and falls to chance, with BN at larger rates than without.",
            draw=draw_sweeps,
            experiments=("lr_sweep", "lr_sweep_inception"),
        ),
    ),
    in_words=answer_in_words,
)
