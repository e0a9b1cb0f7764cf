"""How far and how fast a run trains, by test accuracy smoothed over rows: the measures of section 4.2."""

from collections.abc import Callable

import numpy as np

from bn_repro.measures.measures import Pairs
from bn_repro.records.record import DIVERGED, Run
from bn_repro.verdicts.statistics import Estimate, mean_estimate, ratio_estimate

SMOOTHED_ROWS = 5  # of a trailing mean, so that no curve is rewarded for its noise
CHANCE = 0.1  # of ten classes
FAILED_BELOW = 1.5 * CHANCE


def smoothed_accuracy(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, accuracies), each accuracy the mean of the last five rows, of fewer at the start."""
    steps, accuracies = run.column("accuracy")
    means = [accuracies[max(0, row + 1 - SMOOTHED_ROWS) : row + 1].mean() for row in range(len(accuracies))]
    return steps, np.array(means)


def best_accuracy(run: Run) -> float:
    """Return the highest smoothed accuracy of a run, in percent."""
    return 100 * float(smoothed_accuracy(run)[1].max())


def final_smoothed_accuracy(run: Run) -> float:
    return 100 * float(smoothed_accuracy(run)[1][-1])


def target_of(references: list[Run]) -> float:
    """Return the accuracy, in percent, that every reference reached: the lowest of their best."""
    return min(map(best_accuracy, references))


def steps_to_reach(run: Run, target: float) -> int | None:
    """Return the first step whose smoothed accuracy is at least `target` percent, or None."""
    steps, accuracies = smoothed_accuracy(run)
    reached = steps[100 * accuracies >= target]
    return max(int(reached[0]), 1) if len(reached) else None


def speedup_to_best(pairs: Pairs) -> Estimate:
    """Return how many times fewer steps the subject needs to the best accuracy that all references reached.

    A subject that never gets there counts with all the steps it was given; the interval is then open down to 0.
    """
    target = target_of([reference for reference, _ in pairs])
    needed = [(steps_to_reach(reference, target), steps_to_reach(subject, target)) for reference, subject in pairs]
    ratios = [
        of_reference / (of_subject or subject.config["train.steps"]) for (of_reference, of_subject), (_, subject) in zip(needed, pairs)
    ]
    return ratio_estimate(ratios, has_upper_bounds=any(of_subject is None for _, of_subject in needed))


def share_of_seeds(measure: Callable[[Run], float]) -> Callable[[Pairs], Estimate]:
    """Average a 0 or 1 of each subject; the interval ends where shares do."""

    def share(pairs: Pairs) -> Estimate:
        estimate = mean_estimate([measure(subject) for _, subject in pairs])
        return Estimate(estimate.mean, max(estimate.low, 0.0), min(estimate.high, 1.0), estimate.n)

    return share


def reached_infinity(run: Run) -> float:
    """Return 1 if the loss left the finite numbers, else 0."""
    return float(run.summary["status"] == DIVERGED)


def failed_to_train(run: Run) -> float:
    """Return 1 if the loss left the finite numbers or the run ended near chance, below 15 %; else 0."""
    return float(reached_infinity(run) or final_smoothed_accuracy(run) < 100 * FAILED_BELOW)
