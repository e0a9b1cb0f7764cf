"""At which batch sizes does BN gain, and do its larger learning rates pay there? (Wu & He 2018, De & Smith 2020)"""

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import draw_over_seeds, new_figure
from bn_repro.measures.accuracy import final_accuracy
from bn_repro.records.record import Run
from bn_repro.studies.learning_rates import at_best_lr, difference_at_best_lr
from bn_repro.studies.study import Answers, Drawn, Figure, Study
from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above, Below
from bn_repro.verdicts.selection import NAME, Sweep, complete_by_seed, named_runs
from bn_repro.verdicts.statistics import Mean


class Subject(NamedTuple):
    """A network that is trained on as many images in batches of several sizes."""

    experiment: str
    suffix: str  # of its claims' ids
    title: str
    sizes: tuple[int, ...]
    num_images: int


MLP = Subject("batch_size", "", "Sigmoid network", (2, 8, 32, 256), 64_000)
INCEPTION = Subject("batch_size_inception", "-inception", "Inception at full width", (32, 256, 1_024), 640_000)
SMALLEST, SMALL, LARGEST = 2, 8, 256  # of the sigmoid network's
NORMS = (
    ("without BN", "none"),
    ("with BN", "batch"),
    ("with layer norm", "layer"),
    ("with group norm", "group"),
    ("with VBN", "virtual_batch"),
)
SIZED_NAME = re.compile(rf"{NAME.pattern},train\.batch_size=(?P<size>\d+),train\.lr=(?P<lr>[^,]+),train\.steps=\d+")
AT_BEST = "on as many images, each arm at its best learning rate"


def sweeps_of_size(size: int, root: Path, arm: str, tier: str) -> dict[int, Sweep]:
    """Return by seed an arm's runs of one batch size, by learning rate; of seeds that have all rates."""
    of_size = [found for found in named_runs(root, arm, tier, SIZED_NAME) if int(found[0]["size"]) == size]
    return complete_by_seed(of_size, lambda name: float(name["lr"]))


def sweeps_at_both_ends(root: Path, arm: str, tier: str) -> dict[int, dict[tuple[int, float], Run]]:
    """Return by seed an arm's runs of the smallest and the largest size, by size and learning rate."""
    named = [found for found in named_runs(root, arm, tier, SIZED_NAME) if int(found[0]["size"]) in (SMALLEST, LARGEST)]
    return complete_by_seed(named, lambda name: (int(name["size"]), float(name["lr"])))


def of_size(found: dict, size: int) -> Sweep:
    return {lr: run for (own_size, lr), run in found.items() if own_size == size}


def lost_in_small_batches(pairs: Sequence[tuple[dict, dict]]) -> Mean:
    """Return by how many points the subject's lead over the reference is smaller in the smallest batches than in the largest."""
    leads = [difference_at_best_lr([(of_size(one, size), of_size(other, size)) for one, other in pairs]) for size in (LARGEST, SMALLEST)]
    lost = np.subtract(*(np.asarray(lead.values) for lead in leads))
    return Mean(list(lost), variance_besides=sum(lead.variance_besides for lead in leads))


def best_rate(sweep: Sweep) -> tuple[float, float]:
    """Return between which two rates the best lies: the top of a parabola through the best rate and its neighbours, on a logarithmic scale.

    It is one rate twice, but where the best is at an end of the grid: there the rates beyond are open.
    """
    rates = list(sweep)
    best = max(range(len(rates)), key=lambda number: final_accuracy(sweep[rates[number]]))
    if best == 0:
        return 0.0, rates[0]
    if best == len(rates) - 1:
        return rates[-1], math.inf
    below, top, above = (final_accuracy(sweep[rate]) for rate in rates[best - 1 : best + 2])
    curvature = 2 * top - below - above
    shift = (above - below) / (2 * curvature) if curvature > 0 else 0.0  # in spacings of the grid, within half of one
    rate = rates[best] * (rates[best + 1] / rates[best]) ** shift
    return rate, rate


def lr_of_best(sweep: Sweep) -> float:
    return max(sweep, key=lambda lr: final_accuracy(sweep[lr]))


def ratio_of_best_rates(pairs: Sequence[tuple[Sweep, Sweep]]) -> Ratio:
    """Return the subject's best learning rate over the reference's, seed by seed."""
    bounds = [(best_rate(reference), best_rate(subject)) for reference, subject in pairs]
    return Ratio(
        [low / high_of_reference for (_, high_of_reference), (low, _) in bounds],
        [high / low_of_reference if low_of_reference else math.inf for (low_of_reference, _), (_, high) in bounds],
    )


def gain_claim(of: Subject, size: int) -> Claim:
    return Claim(
        id=f"batch-size-{size}-gain{of.suffix}",
        section="4.2",
        group=f"{of.title} {AT_BEST}",
        says=f"in batches of {size}, BN ends above no norm",
        paper="higher, in batches of 32",
        unit="points",
        reference=f"{of.experiment}/none",
        subject=f"{of.experiment}/batch",
        control=f"{of.experiment}/none",
        select=partial(sweeps_of_size, size),
        measure=difference_at_best_lr,
        rule=Above(0, 0.2),
    )


def rate_claim(of: Subject, size: int, says: str, rule: Above | Below) -> Claim:
    return Claim(
        id=f"batch-size-{size}-rate{of.suffix}",
        section="De & Smith 2020",
        group=f"{of.title} on as many images, the best learning rate with BN over that without",
        says=says,
        paper="larger in large batches alone",
        unit="x",
        reference=f"{of.experiment}/none",
        subject=f"{of.experiment}/batch",
        select=partial(sweeps_of_size, size),
        measure=ratio_of_best_rates,
        rule=rule,
    )


def draw_sizes(of: Subject, root: Path, tier: str) -> Drawn | None:
    """Draw final accuracy, and the best learning rate, against the batch size, a curve per norm."""
    found = {
        label: [list(sweeps_of_size(size, root, f"{of.experiment}/{norm}", tier).values()) for size in of.sizes] for label, norm in NORMS
    }
    found = {label: of_sizes for label, of_sizes in found.items() if all(of_sizes)}
    if not {"without BN", "with BN"} <= found.keys():
        return None
    figure, axes = new_figure(2, 9, 3.4)
    num_seeds = min(len(sweeps) for of_sizes in found.values() for sweeps in of_sizes)
    for label, of_sizes in found.items():
        accuracies = [[final_accuracy(run) for run in at_best_lr(sweeps)[:num_seeds]] for sweeps in of_sizes]
        rates = [[lr_of_best(sweep) for sweep in sweeps[:num_seeds]] for sweeps in of_sizes]
        for axis, values in zip(axes, (accuracies, rates)):
            draw_over_seeds(axis, label, np.array(of.sizes), np.array(values).T)
    for axis in axes:
        axis.set(xscale="log", xlabel="images of a batch", xticks=of.sizes, xticklabels=[f"{size}" for size in of.sizes])
        axis.minorticks_off()
    axes[0].set_ylabel("final test accuracy")
    axes[0].yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
    axes[1].set(yscale="log", ylabel="best learning rate of the grid")
    axes[0].legend(fontsize=8)
    runs = [run for of_sizes in found.values() for sweeps in of_sizes for sweep in sweeps[:num_seeds] for run in sweep.values()]
    return Drawn(figure, runs, f"n = {num_seeds}.")


def answer_in_words(answers: Answers) -> str:
    """Say what BN gains in the largest batches, and where it stands beside group norm in the smallest."""
    gained, group = answers[f"batch-size-{LARGEST}-gain"], answers[f"batch-size-{SMALLEST}-group"]
    if NOT_RUN in (gained.verdict, group.verdict):
        return ""
    return f"BN gains {in_words(gained)} in batches of {LARGEST}. In batches of {SMALLEST} group norm ends {in_words(group)} above BN."


def figure_of(of: Subject) -> Figure:
    return Figure(
        name=f"batch-size{of.suffix}",
        title=f"{of.title}: final accuracy and the best learning rate against the batch size, by norm",
        caption=f"All arms see {of.num_images:,} images. Left: final test accuracy, each seed at the learning rate that the "
        "other seeds prefer. Right: the best of five rates a factor of 4 apart. Lines are means over seeds, bands run from the lowest "
        "to the highest seed.",
        alt=f"Two panels over batches of {of.sizes[0]} to {of.sizes[-1]:,} images: accuracy and the best learning rate, a curve per norm.",
        draw=partial(draw_sizes, of),
        experiments=(of.experiment,),
    )


STUDY = Study(
    name="batch_size",
    title="Batch size",
    sections="4.2",
    question="At which batch sizes does BN gain, and do larger learning rates pay there?",
    experiments=(MLP.experiment, INCEPTION.experiment),
    claims=(
        *(gain_claim(MLP, size) for size in MLP.sizes if size != SMALLEST),
        Claim(
            id=f"batch-size-{SMALLEST}-group",
            section="Wu & He 2018",
            group=f"{MLP.title} {AT_BEST}",
            says=f"in batches of {SMALLEST}, group norm ends above BN",
            paper="10.6 points, ResNet-50 on ImageNet",
            unit="points",
            reference="batch_size/batch",
            subject="batch_size/group",
            select=partial(sweeps_of_size, SMALLEST),
            measure=difference_at_best_lr,
            rule=Above(0, 1),
        ),
        Claim(
            id="batch-size-lost",
            section="Wu & He 2018",
            group=f"{MLP.title} {AT_BEST}",
            says=f"beside group norm, BN loses more in batches of {SMALLEST} than in those of {LARGEST}",
            paper="only small batches hurt it",
            unit="points",
            reference="batch_size/group",
            subject="batch_size/batch",
            select=sweeps_at_both_ends,
            measure=lost_in_small_batches,
            rule=Above(0, 1),
        ),
        rate_claim(MLP, SMALL, f"in batches of {SMALL}, it is at most twice as large", Below(2, 4)),
        rate_claim(MLP, LARGEST, f"in batches of {LARGEST}, it is larger", Above(1, 2)),
        *(gain_claim(INCEPTION, size) for size in INCEPTION.sizes),
        rate_claim(INCEPTION, INCEPTION.sizes[0], f"in batches of {INCEPTION.sizes[0]}, it is at most twice as large", Below(2, 4)),
        rate_claim(INCEPTION, INCEPTION.sizes[-1], f"in batches of {INCEPTION.sizes[-1]:,}, it is larger", Above(1, 2)),
    ),
    figures=(figure_of(MLP), figure_of(INCEPTION)),
    in_words=answer_in_words,
)
