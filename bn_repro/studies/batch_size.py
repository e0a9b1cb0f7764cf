"""At which batch sizes does BN gain, and do its larger learning rates pay there? (Wu & He 2018, De & Smith 2020)"""

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import draw_over_seeds, new_figure
from bn_repro.measures.accuracy import final_accuracy
from bn_repro.studies.learning_rates import at_best_lr, difference_at_best_lr
from bn_repro.studies.study import NO_RUNS, Answers, Drawn, Figure, Study
from bn_repro.verdicts.censored import GridRatio
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above, Below
from bn_repro.verdicts.selection import NAME, Sweep, named_runs

SIZES = (2, 8, 32, 256)
SMALL, LARGE = 8, 256  # between which De & Smith are asked
RATE_SPACING = 4.0  # of the grid
NORMS = (
    ("without BN", "none"),
    ("with BN", "batch"),
    ("with layer norm", "layer"),
    ("with group norm", "group"),
    ("with VBN", "virtual_batch"),
)
SIZED_NAME = re.compile(rf"{NAME.pattern},train\.batch_size=(?P<size>\d+),train\.lr=(?P<lr>[^,]+),train\.steps=\d+")


def sweeps_of_size(size: int, root: Path, arm: str, tier: str) -> dict[int, Sweep]:
    """Return by seed an arm's runs of one batch size, by learning rate; of seeds that have all rates."""
    sweeps: dict[int, Sweep] = {}
    for name, run in named_runs(root, arm, tier, SIZED_NAME):
        if int(name["size"]) == size:
            sweeps.setdefault(int(name["seed"]), {})[float(name["lr"])] = run
    rates = set().union(*sweeps.values()) if sweeps else set()
    return {seed: dict(sorted(sweep.items())) for seed, sweep in sorted(sweeps.items()) if sweep.keys() == rates}


def best_rate(sweep: Sweep) -> float:
    return max(sweep, key=lambda lr: final_accuracy(sweep[lr]))


def bounds_of_best_rate(sweep: Sweep) -> tuple[float, float]:
    """Return between which two rates the best lies: within half a spacing of its point of the grid, open at the grid's ends."""
    best, half = best_rate(sweep), RATE_SPACING**0.5
    return 0.0 if best == min(sweep) else best / half, math.inf if best == max(sweep) else best * half


def ratio_of_best_rates(pairs: Sequence[tuple[Sweep, Sweep]]) -> GridRatio:
    """Return the subject's best learning rate over the reference's, seed by seed."""
    bounds = [(bounds_of_best_rate(reference), bounds_of_best_rate(subject)) for reference, subject in pairs]
    return GridRatio(
        [low / high_of_reference for (_, high_of_reference), (low, _) in bounds],
        [high / low_of_reference if low_of_reference else math.inf for (low_of_reference, _), (_, high) in bounds],
    )


def gain_claim(size: int) -> Claim:
    return Claim(
        id=f"batch-size-{size}-gain",
        section="Wu & He 2018",
        group="Sigmoid network on as many images, each arm at its best learning rate",
        says=f"batches of {size}: BN ends above no norm",
        paper="smaller batches, less gain",
        unit="points",
        reference="batch_size/none",
        subject="batch_size/batch",
        select=partial(sweeps_of_size, size),
        measure=difference_at_best_lr,
        rule=Above(0, 0.2),
    )


def rate_claim(size: int, says: str, rule: Above | Below) -> Claim:
    return Claim(
        id=f"batch-size-{size}-rate",
        section="De & Smith 2020",
        group="Sigmoid network on as many images, the best learning rates",
        says=f"batches of {size}: BN's is {says} than without BN",
        paper="pays at large batches alone",
        unit="x",
        reference="batch_size/none",
        subject="batch_size/batch",
        select=partial(sweeps_of_size, size),
        measure=ratio_of_best_rates,
        rule=rule,
    )


def draw_sizes(root: Path, tier: str) -> Drawn | None:
    """Draw final accuracy, and the best learning rate, against the batch size, a curve per norm."""
    found = {label: [list(sweeps_of_size(size, root, f"batch_size/{norm}", tier).values()) for size in SIZES] for label, norm in NORMS}
    found = {label: of_sizes for label, of_sizes in found.items() if all(of_sizes)}
    if not {"without BN", "with BN"} <= found.keys():
        return None
    figure, axes = new_figure(2, 9, 3.4)
    for label, of_sizes in found.items():
        num_seeds = min(map(len, of_sizes))
        accuracies = [[final_accuracy(run) for run in at_best_lr(sweeps)[:num_seeds]] for sweeps in of_sizes]
        rates = [[best_rate(sweep) for sweep in sweeps[:num_seeds]] for sweeps in of_sizes]
        for axis, values in zip(axes, (accuracies, rates)):
            draw_over_seeds(axis, label, np.array(SIZES), np.array(values).T)
    for axis in axes:
        axis.set(xscale="log", xlabel="images of a batch", xticks=SIZES, xticklabels=[f"{size}" for size in SIZES])
        axis.minorticks_off()
    axes[0].set_ylabel("final test accuracy")
    axes[0].yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
    axes[1].set(yscale="log", ylabel="best learning rate")
    axes[0].legend(fontsize=8)
    return Drawn(figure, [run for of_sizes in found.values() for sweeps in of_sizes for sweep in sweeps for run in sweep.values()])


def answer_in_words(answers: Answers) -> str:
    """Say what BN gains at the smallest and the largest batch, and beside group norm at the smallest."""
    smallest, largest = (answers[f"batch-size-{size}-gain"] for size in (SIZES[0], SIZES[-1]))
    if NOT_RUN in (smallest.verdict, largest.verdict):
        return NO_RUNS
    return (
        f"BN gains {in_words(smallest)} in batches of {SIZES[0]} and {in_words(largest)} in batches of {SIZES[-1]}. "
        f"In batches of {SIZES[0]} group norm ends {in_words(answers['batch-size-2-group'])} above BN."
    )


STUDY = Study(
    name="batch_size",
    title="Batch size",
    sections="4.2",
    question="At which batch sizes does BN gain, and do larger learning rates pay there?",
    experiments=("batch_size",),
    claims=(
        *map(gain_claim, SIZES),
        Claim(
            id="batch-size-2-group",
            section="Wu & He 2018",
            group="Sigmoid network on as many images, each arm at its best learning rate",
            says="batches of 2: group norm ends above BN",
            paper="10.6 points, ResNet-50 on ImageNet",
            unit="points",
            reference="batch_size/batch",
            subject="batch_size/group",
            select=partial(sweeps_of_size, 2),
            measure=difference_at_best_lr,
            rule=Above(0, 1),
        ),
        rate_claim(SMALL, "no larger", Below(RATE_SPACING, RATE_SPACING**2)),
        rate_claim(LARGE, "larger", Above(1, RATE_SPACING)),
    ),
    figures=(
        Figure(
            name="batch-size",
            title="Final accuracy and the best learning rate against the batch size, by norm",
            caption="All arms see 96,000 images. Left: final test accuracy, each seed at the learning rate that the other seeds prefer. "
            "Right: the best of four rates a factor of 4 apart. Lines are means over seeds, bands run from the lowest to the highest seed.",
            alt="Two panels over batches of 2 to 256 images: accuracy and the best learning rate, a curve per norm.",
            draw=draw_sizes,
            experiments=("batch_size",),
        ),
    ),
    in_words=answer_in_words,
)
