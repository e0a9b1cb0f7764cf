"""How many steps an Inception needs to 95 % of what the plain one reaches, at each base; and what the paper's Figure 3 has."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bn_repro.measures.accuracy import best_accuracy, speedup, steps_to_reach
from bn_repro.measures.contrasts import Pairs
from bn_repro.records.record import Run
from bn_repro.verdicts.censored import Ratio

# Figure 3 of the paper: arm, its label, steps to 72.2 % in millions, maximal accuracy in %; None: never, or not run.
FIGURE_3 = (
    ("inception", "Inception", 31.0, 72.2),
    ("bn_baseline", "BN-Baseline", 13.3, 72.7),
    ("bn_x5", "BN-x5", 2.1, 73.0),
    ("bn_x30", "BN-x30", 2.7, 74.8),
    ("bn_x5_sigmoid", "BN-x5-Sigmoid", None, 69.8),
    ("inception_x5", "Inception at x5", None, None),
    ("inception_x30", "Inception at x30", None, None),
    ("inception_sigmoid", "Inception with sigmoid", None, 0.1),
)
LABELS = {arm: label for arm, label, _, _ in FIGURE_3}
SHARE = 0.95  # of the plateau that is the target
PAPERS_TARGET = ("imagenet", 72.2)  # the plain network's best, on the paper's own data


class Base(NamedTuple):
    """What the arms are multiples of.

    Args:
        plateaus: (tier, validation accuracy in percent of the plain network on tuning seeds, at the end of its training).
    """

    experiment: str
    suffix: str  # of its claims' ids
    title: str
    short_title: str
    plateaus: tuple[tuple[str, float], ...]

    @property
    def targets(self) -> tuple[tuple[str, float], ...]:
        """Return (tier, accuracy in percent to which steps are counted)."""
        return (*((tier, SHARE * plateau) for tier, plateau in self.plateaus), PAPERS_TARGET)

    def arm(self, name: str) -> str:
        return f"{self.experiment}/{name}"


# The plateaus are those of inception_plateaus.
TUNED = Base(
    "inception",
    "",
    "Base: the best rate without BN, decay to a half; 6 times faster with BN-x5 and BN-x30",
    "best rate without BN",
    (("long", 55.0),),
)
OWN_DECAY = Base(
    "inception_own_decay",
    "-own-decay",
    "Base: the best rate without BN at any decay; each arm the decay that is best for it",
    "best rate without BN, own decays",
    (("long", 57.5),),
)
PAPERS_RATE = Base(
    "inception_paper_rate",
    "-paper-rate",
    "Base: the paper's learning rate, 0.0015; decay 6 times faster with BN-x5 and BN-x30",
    "the paper's rate, 0.0015",
    (("long", 52.0),),
)
XAVIER = Base(
    "inception_xavier",
    "-xavier",
    "Base: Xavier's initial weights at the rate that was best without BN on one seed; decay 6 times faster with BN-x5",
    "Xavier's initial weights",
    (("long", 47.72),),
)
BASES = (TUNED, OWN_DECAY, PAPERS_RATE, XAVIER)
XAVIER_LOWER_RATE = "inception_xavier_lower/inception"  # the plain network once more, at a rate at which more seeds may train


def target_at(run: Run, targets: tuple[tuple[str, float], ...]) -> float | None:
    """Return the target of the run's tier in percent, None where no plateau is known."""
    tier = run.address.split("/")[1]
    return dict(targets).get(tier)


def speedup_to_target(targets: tuple[tuple[str, float], ...]) -> Callable[[Pairs], Ratio | None]:
    """Return a measure: how many times fewer steps the subject needs to the target of its tier."""

    def measure(pairs: Pairs) -> Ratio | None:
        target = target_at(pairs[0][0], targets)
        return None if target is None else speedup(target)(pairs)

    return measure


def speedup_at(references: list[Run], subjects: list[Run], targets: np.ndarray) -> np.ndarray:
    """Return (seeds, targets): how many times fewer steps subjects need than their references; nan where one never arrives."""
    steps = [[[steps_to_reach(run, target) or np.nan for target in targets] for run in runs] for runs in (references, subjects)]
    return np.array(steps[0]) / np.array(steps[1])


def lowest_peak(runs: list[Run]) -> float:
    """Return the accuracy in percent that every run reaches."""
    return min(map(best_accuracy, runs))
