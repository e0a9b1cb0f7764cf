"""What is read off the records of two arms, a value for each seed: accuracy, steps, movement, growth, exactness."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import wasserstein_distance

from bn_repro.records.record import DIVERGED, Run
from bn_repro.verdicts.statistics import Estimate, mean_estimate, ratio_estimate

NEGLIGIBLE = 1e-9
ROUNDING = 1e-3  # of the norm of hundreds of float32 biases after thousands of steps
Pairs = Sequence[tuple[Run, Run]]  # of one seed: (reference, subject)


def over_subjects(measure: Callable[[Run], float]) -> Callable[[Pairs], Estimate]:
    """Average a number of each subject."""
    return lambda pairs: mean_estimate([measure(subject) for _, subject in pairs])


def difference(measure: Callable[[Run], float]) -> Callable[[Pairs], Estimate]:
    """Average subject minus reference, seed by seed."""
    return lambda pairs: mean_estimate([measure(subject) - measure(reference) for reference, subject in pairs])


def reduction(measure: Callable[[Run], float]) -> Callable[[Pairs], Estimate]:
    """Average reference over subject, seed by seed, on a logarithmic scale: how many times less the subject has."""
    return lambda pairs: ratio_estimate([ratio(measure(reference), measure(subject)) for reference, subject in pairs])


def increase(measure: Callable[[Run], float]) -> Callable[[Pairs], Estimate]:
    """Average subject over reference, seed by seed, on a logarithmic scale."""
    return lambda pairs: ratio_estimate([ratio(measure(subject), measure(reference)) for reference, subject in pairs])


def ratio(above: float, below: float) -> float:
    """Divide two amounts that are not negative; two that are as good as 0 are equal."""
    return max(above, NEGLIGIBLE) / max(below, NEGLIGIBLE)


def final_accuracy(run: Run) -> float:
    """Return the accuracy of the trained network, in percent, by Algorithm 2 if it has batch norm."""
    return 100 * run.summary["accuracy"]


def steps_to(run: Run, accuracy: float) -> int | None:
    """Return the first measured step of at least that accuracy, or None if the run never got there."""
    steps, accuracies = run.column("accuracy")
    reached = steps[accuracies >= accuracy]
    return max(int(reached[0]), 1) if len(reached) else None


def speedup(pairs: Pairs) -> Estimate:
    """Return how many times fewer steps the subject needs to the reference's final accuracy, its mean over seeds.

    A run that never gets there counts with all its steps. For a reference the ratio is then at least so large, and
    the interval open upwards; for a subject at most, and it is open down to 0.
    """
    target = np.mean([reference.column("accuracy")[1][-1] for reference, _ in pairs])
    needed = [(steps_to(reference, target), steps_to(subject, target)) for reference, subject in pairs]
    ratios = [
        (of_reference or reference.column("accuracy")[0][-1]) / (of_subject or subject.column("accuracy")[0][-1])
        for (reference, subject), (of_reference, of_subject) in zip(pairs, needed)
    ]
    return ratio_estimate(
        ratios,
        has_upper_bounds=any(of_subject is None for _, of_subject in needed),
        has_lower_bounds=any(of_reference is None for of_reference, _ in needed),
    )


def last_layer(run: Run) -> str:
    """Return the place before the last nonlinearity: its input, as in Figures 1b and 1c."""
    return f"hidden.{run.config['network.depth'] - 1}/after_norm"


def unit_percentiles(run: Run) -> np.ndarray:
    """Return the percentiles over training of single units of the last hidden layer: (rows, units, percentiles)."""
    return run.activations[f"{last_layer(run)}/unit_percentiles"]


def median_path(run: Run) -> float:
    """Return how far a unit's median travels over training, in units of its final width; the median unit's.

    The width is from the lowest to the highest percentile, 15 to 85.
    """
    percentiles = unit_percentiles(run)
    return float(np.median(path(percentiles[:, :, 1]) / width(percentiles)[-1]))


def width_path(run: Run) -> float:
    """Return how much a unit's width changes over training, all changes added, in units of its final width."""
    percentiles = unit_percentiles(run)
    return float(np.median(path(width(percentiles)) / width(percentiles)[-1]))


def width(percentiles: np.ndarray) -> np.ndarray:
    """Return (rows, units) from (rows, units, percentiles), never quite 0."""
    return np.maximum(percentiles[:, :, -1] - percentiles[:, :, 0], 1e-6)


def path(series: np.ndarray) -> np.ndarray:
    """Return the total of all absolute changes along the first axis."""
    return np.abs(np.diff(series, axis=0)).sum(axis=0)


def distance_to_final(run: Run) -> float:
    """Return the Wasserstein-1 distance of the layer's distribution to its final one, over training on average.

    In units of the layer's final 15-85 width; all units together, from the fixed-edge histogram.
    """
    place = last_layer(run)
    histograms = run.activations[f"{place}/histogram"]
    low, high = run.activations[f"{place}/range"][0]
    edges = np.linspace(low, high, histograms.shape[1] + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    distances = [wasserstein_distance(centers, centers, row, histograms[-1]) for row in histograms[:-1]]
    final = run.activations[f"{place}/percentiles"][-1]
    return float(np.mean(distances) / max(final[-1] - final[0], 1e-6))


def bias_growth(run: Run) -> float:
    """Return the norm of the biases at the end over that at half time: 2 for steady growth, 1.41 for a random walk.

    Biases that rounding alone has moved stand still: 1.
    """
    steps, norms = run.column("bias_norm")
    half = norms[np.abs(steps - steps[-1] / 2).argmin()]
    return float(norms[-1] / half) if half > ROUNDING else 1.0


def final_bias_norm(run: Run) -> float:
    return float(run.column("bias_norm")[1][-1])


def loss_change(run: Run) -> float:
    """Return the largest relative change of the loss on the probe batch since the start."""
    if run.summary.get("status") == DIVERGED:
        return np.inf
    _, losses = run.column("probe_loss")
    return float(np.abs(losses / losses[0] - 1).max())


def scale_error(name: str) -> Callable[[Run], float]:
    """Return a measure of section 3.3: the relative error of the named identity when W becomes 10 W."""
    return lambda run: run.summary.get("scale_invariance", {}).get(name, np.inf)


def tracking_error(run: Run) -> float:
    """Return the distance between accuracy by moving averages and by Algorithm 2, in percentage points."""
    if run.summary["num_batch_norms"] == 0:
        return np.inf
    return 100 * abs(run.summary["accuracy_moving_averages"] - run.summary["accuracy"])


def folding_error(run: Run) -> float:
    """Return the relative output error of the folded network; infinite if nothing, or not everything, was folded."""
    summary = run.summary
    is_whole = summary["num_batch_norms"] > 0 and summary.get("num_folded") == summary["num_batch_norms"]
    return summary["folding_error"] if is_whole else np.inf
