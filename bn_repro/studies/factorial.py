"""What does BN do, what its larger learning rate, and what its faster decay? (sections 4.2.1, 4.2.2)"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import draw_over_seeds, new_figure
from bn_repro.measures.accuracy import TEST_IMAGES, final_accuracy
from bn_repro.records.record import Run
from bn_repro.studies.study import Answers, Drawn, Figure, Rows, Study
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import gains, in_a_cell, in_words
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import NAME, complete_by_seed, named_runs
from bn_repro.verdicts.statistics import Mean

EXPERIMENT = "inception_factorial"
NONE, BATCH = f"{EXPERIMENT}/none", f"{EXPERIMENT}/batch"
SLOW, FAST = 0.5, 0.5**6  # final over first learning rate
DECAYS = {SLOW: "a decay to a half", FAST: "a decay 6 times faster"}
BASE_RATE, HIGHER_RATE, HIGHEST_RATE = RATES = (0.008, 0.04, 0.24)
NORMS = {"without BN": NONE, "with BN": BATCH}
NO_RESPONSES, LESS_L2 = "network.has_lrn=False", "train.weight_decay=4e-05"
CELL_NAME = re.compile(
    rf"{NAME.pattern}(?:,(?P<no_responses>{re.escape(NO_RESPONSES)}))?"
    rf",train\.final_lr_ratio=(?P<ratio>[^,]+),train\.lr=(?P<lr>[^,]+)(?:,(?P<less_l2>{re.escape(LESS_L2)}))?"
)
GROUP = "Small Inception, every combination of norm, learning rate and decay"


class Cell(NamedTuple):
    """One network of a norm: its learning rate, its final over its first learning rate, and the override beside these two."""

    lr: float
    ratio: float
    override: str = ""


BASE = Cell(BASE_RATE, SLOW)
Cells = Mapping[Cell, Run]  # a norm's runs of one seed
Pairs = Sequence[tuple[Cells, Cells]]  # of one seed: (reference, subject)
Weights = Mapping[Cell, float]


def cells_of(root: Path, arm: str, tier: str) -> dict[int, dict[Cell, Run]]:
    """Return the runs of a norm by seed and cell, of seeds that have all cells."""
    return complete_by_seed(
        named_runs(root, arm, tier, CELL_NAME),
        lambda name: Cell(float(name["lr"]), float(name["ratio"]), name["no_responses"] or name["less_l2"] or ""),
    )


def between(before: Sequence[Cell], after: Sequence[Cell]) -> Weights:
    """Weigh cells so that they sum to what a change adds, averaged over the cells before it and after it, which differ by it alone."""
    return {cell: -1 / len(before) for cell in before} | {cell: 1 / len(after) for cell in after}


OF_RATE = between([Cell(BASE_RATE, ratio) for ratio in DECAYS], [Cell(HIGHER_RATE, ratio) for ratio in DECAYS])
OF_HIGHEST_RATE = between([Cell(BASE_RATE, ratio) for ratio in DECAYS], [Cell(HIGHEST_RATE, ratio) for ratio in DECAYS])
OF_DECAY = between([Cell(lr, SLOW) for lr in (BASE_RATE, HIGHER_RATE)], [Cell(lr, FAST) for lr in (BASE_RATE, HIGHER_RATE)])
OF_NO_RESPONSES = between([BASE], [BASE._replace(override=NO_RESPONSES)])
OF_LESS_L2 = between([BASE], [BASE._replace(override=LESS_L2)])
EFFECTS = {
    "5 times the learning rate, over both decays": OF_RATE,
    "30 times the learning rate, over both decays": OF_HIGHEST_RATE,
    "a decay 6 times faster, over the base's rate and 5 times that": OF_DECAY,
    "no local response normalization, at the base": OF_NO_RESPONSES,
    "a fifth of the L2 coefficient, at the base": OF_LESS_L2,
}


def weighted(terms: Sequence[tuple[Weights, Sequence[Cells]]]) -> Mean:
    """Return the weighted sum of final accuracies, in percentage points, sure over seeds and over test images.

    Args:
        terms: the weights of a norm's cells, and that norm's cells seed by seed.
    """
    summands = [(weight, [cells[cell] for cells in seeds]) for weights, seeds in terms for cell, weight in weights.items()]
    values = np.sum([[weight * final_accuracy(run) for run in runs] for weight, runs in summands], axis=0)
    return Mean(values.tolist(), variance_besides=variance_over_images(summands))


def variance_over_images(summands: Sequence[tuple[float, Sequence[Run]]]) -> float:
    """Return the squared standard error of a weighted sum of accuracies, in percentage points, since test images are a sample.

    Where records do not say which images are right, it is the most that it can be.
    """
    if all(run.is_correct is not None for _, runs in summands for run in runs):
        each = np.sum([weight * np.mean([run.is_correct for run in runs], axis=0) for weight, runs in summands], axis=0)  # type: ignore[arg-type]
        return 1e4 * float(each.var(ddof=1)) / len(each)
    shares = [(weight, float(np.mean(list(map(final_accuracy, runs)))) / 100) for weight, runs in summands]
    return 1e4 * sum(abs(weight) * math.sqrt(share * (1 - share) / TEST_IMAGES) for weight, share in shares) ** 2


def added_with_bn(weights: Weights, pairs: Pairs) -> Mean:
    """Return by how many points a change raises the accuracy with BN."""
    return weighted([(weights, [subject for _, subject in pairs])])


def added_by_bn(weights: Weights, pairs: Pairs) -> Mean:
    """Return by how many points more a change raises the accuracy with BN than without."""
    references, subjects = zip(*pairs)
    return weighted([({cell: -weight for cell, weight in weights.items()}, references), (weights, subjects)])


def claim_of(id: str, says: str, paper: str, measure: Callable[[Pairs], Mean]) -> Claim:
    return Claim(
        id=f"factorial-{id}",
        section="4.2.1",
        group=GROUP,
        says=says,
        paper=paper,
        unit="points",
        reference=NONE,
        subject=BATCH,
        select=cells_of,
        measure=measure,
        rule=Above(0, 1),
    )


def shared(root: Path, tier: str) -> tuple[list[Cells], list[Cells]]:
    """Return the cells without BN and with BN, of the seeds that both have."""
    none, batch = (cells_of(root, arm, tier) for arm in (NONE, BATCH))
    seeds = [seed for seed in none if seed in batch]
    return [none[seed] for seed in seeds], [batch[seed] for seed in seeds]


def draw_factorial(root: Path, tier: str) -> Drawn | None:
    """Draw final accuracy against the learning rate, a panel for each decay and a curve for each norm."""
    by_norm = dict(zip(NORMS, shared(root, tier)))
    if not all(by_norm.values()):
        return None
    figure, axes = new_figure(len(DECAYS), 4.6 * len(DECAYS), 3.4, sharey=True)
    for axis, (ratio, title) in zip(axes, DECAYS.items()):
        for label, seeds in by_norm.items():
            draw_over_seeds(
                axis, label, np.array(RATES), np.array([[final_accuracy(cells[Cell(lr, ratio)]) for lr in RATES] for cells in seeds])
            )
        axis.set(xscale="log", xlabel="learning rate")
        axis.set_xticks(RATES, [f"{lr:g}" for lr in RATES])
        axis.minorticks_off()
        axis.set_title(title, fontsize=10, loc="left")
        axis.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
    axes[0].set_ylabel("final test accuracy")
    axes[-1].legend(fontsize=8)
    return drawn(figure, by_norm.values())


def table_of_effects(root: Path, tier: str) -> Drawn | None:
    """Return a row for each change: what it adds to the accuracy without BN, with BN, and the difference."""
    none, batch = shared(root, tier)
    if len(none) < 2:
        return None
    pairs = list(zip(none, batch))
    rows: Rows = (("what a change adds to the final accuracy, in points", "without BN", "with BN", "difference"),)
    for words, weights in EFFECTS.items():
        effects = (weighted([(weights, none)]), weighted([(weights, batch)]), added_by_bn(weights, pairs))
        rows += ((words, *map(in_a_cell, effects)),)
    return drawn(rows, (none, batch))


def drawn(content: Drawing | Rows, sides: Iterable[Sequence[Cells]]) -> Drawn:
    seeds = list(sides)
    return Drawn(content, [run for side in seeds for cells in side for run in cells.values()], f"n = {len(seeds[0])}.")


def answer_in_words(answers: Answers) -> str:
    """Say what the rate and the decay do with BN, and how much of the rate's part is BN's doing."""
    rate, decay, both = (answers[f"factorial-{id}"] for id in ("rate", "decay", "rate-and-norm"))
    if NOT_RUN in (rate.verdict, decay.verdict, both.verdict):
        return ""
    return (
        f"With BN, five times the learning rate {gains(rate)} at equal decays, and a decay six times faster {gains(decay)} at equal "
        f"rates. BN's own gain is larger by {in_words(both)} at the higher rate."
    )


STUDY = Study(
    name="factorial",
    title="Norm, learning rate and decay apart",
    sections="4.2.1, 4.2.2",
    question="Of what BN-x5 gains over Inception, what is BN's doing, what the learning rate's, what the decay's?",
    experiments=(EXPERIMENT,),
    claims=(
        claim_of("rate", "with BN, 5 times the rate gains accuracy", "higher rates, no ill side effects", partial(added_with_bn, OF_RATE)),
        claim_of("rate-and-norm", "BN gains more at 5 times the rate", "BN enables higher rates", partial(added_by_bn, OF_RATE)),
        claim_of("decay", "with BN, a decay 6 times faster gains accuracy", "since it trains faster", partial(added_with_bn, OF_DECAY)),
    ),
    figures=(
        Figure(
            name="factorial",
            title="Accuracy by norm, learning rate and decay",
            caption="Final test accuracy of the small Inception after 1,500 steps of 32 images, with bands from the lowest to the highest "
            "seed. The lowest rate is the plain network's best; the others are 5 and 30 times that.",
            alt="Accuracy over learning rates, a panel for each decay and a curve for each norm.",
            draw=draw_factorial,
            experiments=(EXPERIMENT,),
        ),
        Figure(
            name="factorial-effects",
            title="What each change adds, without BN and with it",
            caption="Each change is averaged over the combinations that differ by it alone. Intervals are over seeds and test images.",
            alt="A row for each change, with what it adds without BN, with BN, and the difference.",
            draw=table_of_effects,
            experiments=(EXPERIMENT,),
        ),
    ),
    in_words=answer_in_words,
)
