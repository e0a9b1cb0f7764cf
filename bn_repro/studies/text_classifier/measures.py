"""How well a text classifier's head does at its best learning rate, and up to which rate it learns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bn_repro.measures.accuracy import reached_infinity, variance_of_images
from bn_repro.measures.contrasts import Pairs
from bn_repro.records.record import Run
from bn_repro.studies.learning_rates import SweepPairs, at_best_lr, limit_of
from bn_repro.verdicts.censored import GridRatio
from bn_repro.verdicts.selection import Sweep, runs_of, sweeps_of
from bn_repro.verdicts.statistics import Mean

CHANCE = 50.0  # percent, of two labels
LEAST_BEST = 60.0  # percent; a head that is below it at its best rate has learned too little to ask up to which rate it learns


def accuracy(run: Run) -> float:
    """Return the accuracy of the trained classifier in percent, by Algorithm 2 if it has batch norm; chance if it diverged."""
    return CHANCE if reached_infinity(run) else 100 * run.summary["accuracy"]


def at_best_rate(root: Path, arm: str, tier: str) -> dict[int, Run]:
    """Return each seed's run at the learning rate that is best for the other seeds; of an arm that sweeps none, its runs."""
    sweeps = sweeps_of(root, arm, tier)
    return dict(zip(sweeps, at_best_lr(list(sweeps.values())))) if sweeps else runs_of(root, arm, tier)


def accuracy_gain(pairs: Pairs) -> Mean:
    """Average subject minus reference in percentage points, sure over seeds and over test texts."""
    return Mean([accuracy(subject) - accuracy(reference) for reference, subject in pairs], variance_besides=variance_of_images(pairs))


def usable_threshold(references: Sequence[Sweep]) -> float | None:
    """Return halfway from chance to the references' best, in percent, from which a rate is usable; None if the best is near chance."""
    best = float(np.mean([max(map(accuracy, sweep.values())) for sweep in references]))
    return (CHANCE + best) / 2 if best >= LEAST_BEST else None


def usable_ratio(pairs: SweepPairs) -> GridRatio:
    """Return the subject's largest usable learning rate over the reference's, seed by seed, each known up to the grid's spacing.

    Where the references have hardly learned, nothing is known of it: from 0 to infinity.
    """
    threshold = usable_threshold([reference for reference, _ in pairs])
    if threshold is None:
        return GridRatio([0.0] * len(pairs), [np.inf] * len(pairs))
    limits = [(limit_of(reference, threshold), limit_of(subject, threshold)) for reference, subject in pairs]
    return GridRatio(
        [low / beyond if beyond < np.inf else 0.0 for (_, beyond), (low, _) in limits],
        [beyond / low if low > 0 else np.inf for (low, _), (_, beyond) in limits],
    )
