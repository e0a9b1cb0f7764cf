"""How far and how fast a run trains, by test accuracy."""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bn_repro.measures.contrasts import Pairs
from bn_repro.records.record import DIVERGED, Run
from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.statistics import Mean

SMOOTHED_ROWS = 5  # of a trailing mean, so that no curve is rewarded for its noise
CHANCE = 0.1  # of ten classes
FAILED_BELOW = 1.5 * CHANCE
TEST_IMAGES = 10_000  # of MNIST and of CIFAR-10, for records that do not say which of them are right


def final_accuracy(run: Run) -> float:
    """Return the accuracy of the trained network, in percent, by Algorithm 2 if it has batch norm; chance if it diverged."""
    return 100 * (CHANCE if reached_infinity(run) else run.summary["accuracy"])


def accuracy_difference(pairs: Pairs) -> Mean:
    """Average subject minus reference in percentage points, sure over seeds and over test images."""
    values = [final_accuracy(subject) - final_accuracy(reference) for reference, subject in pairs]
    return Mean(values, variance_besides=variance_of_images(pairs))


def variance_of_images(pairs: Pairs) -> float:
    """Return the squared standard error, in percentage points, that a difference of accuracies has because test images are a sample.

    Of each image it takes the difference of how many seeds are right. Where records do not say which images are right, it is
    the most that it can be: images on which both arms are right do not differ.
    """
    if all(run.is_correct is not None for pair in pairs for run in pair):
        differences = np.mean([subject.is_correct.astype(float) - reference.is_correct for reference, subject in pairs], axis=0)  # type: ignore[union-attr]
        return 1e4 * float(differences.var(ddof=1)) / len(differences)
    wrong = [2 - (final_accuracy(reference) + final_accuracy(subject)) / 100 for reference, subject in pairs]
    return 1e4 * min(float(np.mean(wrong)), 1.0) / TEST_IMAGES


def smoothed_accuracy(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, accuracies), each accuracy the mean of the last five rows, of fewer at the start."""
    steps, accuracies = run.column("accuracy")
    first = [accuracies[: row + 1].mean() for row in range(min(len(accuracies), SMOOTHED_ROWS - 1))]
    if len(accuracies) < SMOOTHED_ROWS:
        return steps, np.array(first)
    return steps, np.concatenate([first, sliding_window_view(accuracies, SMOOTHED_ROWS).mean(-1)])


def best_accuracy(run: Run) -> float:
    """Return the highest smoothed accuracy of a run, in percent."""
    return 100 * float(smoothed_accuracy(run)[1].max())


def final_smoothed_accuracy(run: Run) -> float:
    return 100 * float(smoothed_accuracy(run)[1][-1])


def steps_to_reach(run: Run, target: float) -> float | None:
    """Return where the smoothed accuracy first crosses `target` percent, between two rows by a straight line, or None."""
    steps, accuracies = smoothed_accuracy(run)
    (reached,) = np.nonzero(100 * accuracies >= target)
    if not len(reached):
        return None
    row = int(reached[0])
    if row == 0:
        return max(float(steps[0]), 1.0)
    below, above = 100 * accuracies[row - 1 : row + 1]
    return float(steps[row - 1] + (target - below) / (above - below) * (steps[row] - steps[row - 1]))


def speedup(target: float) -> Callable[[Pairs], Ratio]:
    """Return a measure: how many times fewer steps the subject needs to `target` percent.

    A run that never gets there is censored at its last step: the ratio is then only known up to a bound.
    """

    def measure(pairs: Pairs) -> Ratio:
        bounds = [bounds_of_speedup(reference, subject, target) for reference, subject in pairs]
        return Ratio(*zip(*bounds))  # type: ignore[arg-type]

    return measure


def bounds_of_speedup(reference: Run, subject: Run, target: float) -> tuple[float, float]:
    """Return the least and the most that reference's over subject's steps to a target can be."""
    of_reference, of_subject = (steps_to_reach(run, target) for run in (reference, subject))
    low = 0.0 if of_subject is None else (of_reference or last_step(reference)) / of_subject
    high = np.inf if of_reference is None else of_reference / (of_subject or last_step(subject))
    return low, high


def last_step(run: Run) -> float:
    """Return up to which step a run that did not arrive is known not to; one whose loss left the finite numbers never would have."""
    return float(run.config["train.steps"] if reached_infinity(run) else run.column("accuracy")[0][-1])


def reached_infinity(run: Run) -> bool:
    """Say whether the loss left the finite numbers."""
    return run.summary["status"] == DIVERGED


def failed_to_train(run: Run) -> bool:
    """Say whether the loss left the finite numbers or the run ended near chance, below 15 %."""
    return reached_infinity(run) or final_smoothed_accuracy(run) < 100 * FAILED_BELOW
