"""Which learning rates a network can use, and how well it does at its best one: the measures of the sweep."""

from collections.abc import Sequence

import numpy as np

from bn_repro.measures.accuracy import CHANCE
from bn_repro.records.record import DIVERGED
from bn_repro.verdicts.selection import Sweep
from bn_repro.verdicts.statistics import Estimate, mean_estimate, ratio_estimate

SweepPairs = Sequence[tuple[Sweep, Sweep]]  # of one seed: (reference, subject)


def final_accuracies(sweep: Sweep) -> dict[float, float]:
    """Return the final test accuracy (a fraction) by learning rate; chance where the run diverged."""
    return {lr: CHANCE if run.summary["status"] == DIVERGED else run.summary["accuracy"] for lr, run in sweep.items()}


def usable_threshold(references: Sequence[Sweep]) -> float:
    """Return the accuracy from which a learning rate counts as usable: halfway from chance to the references' best."""
    best = np.mean([max(final_accuracies(sweep).values()) for sweep in references])
    return float((CHANCE + best) / 2)


def largest_usable_lr(sweep: Sweep, threshold: float) -> float | None:
    """Return the largest learning rate whose run ended at `threshold` or above, or None."""
    return max((lr for lr, accuracy in final_accuracies(sweep).items() if accuracy >= threshold), default=None)


def usable_ratio(pairs: SweepPairs) -> Estimate:
    """Return the subject's largest usable learning rate over the reference's.

    The limit lies somewhere between two rates of the grid, so the interval is widened by one spacing on both sides.
    It is open where the largest rate of all is still usable, or none is.
    """
    threshold = usable_threshold([reference for reference, _ in pairs])
    limits = [tuple(largest_usable_lr(sweep, threshold) for sweep in pair) for pair in pairs]
    rates = sorted(pairs[0][0])
    ratios = [(of_subject or rates[0]) / (of_reference or rates[0]) for of_reference, of_subject in limits]
    estimate = ratio_estimate(
        ratios,
        has_upper_bounds=any(of_subject is None or of_reference == rates[-1] for of_reference, of_subject in limits),
        has_lower_bounds=any(of_reference is None or of_subject == rates[-1] for of_reference, of_subject in limits),
    )
    spacing = max(above / below for below, above in zip(rates, rates[1:]))
    return Estimate(estimate.mean, estimate.low / spacing, estimate.high * spacing, estimate.n)


def accuracies_at_best_lr(sweeps: Sequence[Sweep]) -> list[float]:
    """Return each seed's final accuracy, in percent, at the learning rate that is best for the other seeds."""
    table = np.array([list(final_accuracies(sweep).values()) for sweep in sweeps])  # (seeds, rates)
    chosen = []
    for seed in range(len(table)):
        others = np.delete(table, seed, axis=0) if len(table) > 1 else table
        chosen.append(100 * float(table[seed, others.mean(axis=0).argmax()]))
    return chosen


def difference_at_best_lr(pairs: SweepPairs) -> Estimate:
    """Return how much more accurate the subject is, in percentage points, each at its own best learning rate."""
    references, subjects = (accuracies_at_best_lr(sweeps) for sweeps in zip(*pairs))
    return mean_estimate(np.subtract(subjects, references))
