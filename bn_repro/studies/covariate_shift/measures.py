"""What records say of internal covariate shift in each of its definitions, of the landscape, Jacobians and depth: a number per run."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bn_repro.measures.contrasts import Pairs
from bn_repro.measures.drift import INPUTS, drift
from bn_repro.records.record import Run
from bn_repro.verdicts.statistics import Sample

FITTED_BELOW = 0.05  # nats of training loss: from there on a network has fitted the data, and gradients behave otherwise
LEAST_ROWS = 3


def median_drift(measure: str, place: str = INPUTS) -> Callable[[Run], float]:
    """Return a measure of `measures.drift`: the median over the depth."""
    return lambda run: float(np.median(drift(run.activations, place)[measure]))


def has_fitted(run: Run, steps: np.ndarray) -> np.ndarray:
    """Return (R,) bool: from the first row on whose training loss is below 0.05 nats."""
    at, losses = run.column("train_loss")
    below = at[losses < FITTED_BELOW]
    return steps >= (below[0] if len(below) else np.inf)


def in_phase(
    phase: str, measure: Callable[[Run, str], Any], contrast: Callable[[Callable[[Run], float]], Callable[[Pairs], Sample]]
) -> Callable[[Pairs], Sample | None]:
    """Return a contrast of a measure of one phase, "fitting" or "fitted"; None where some run has too few rows of it."""

    def of_pairs(pairs: Pairs) -> Sample | None:
        if any(measure(run, phase) is None for pair in pairs for run in pair):
            return None
        return contrast(lambda run: measure(run, phase))(pairs)

    return of_pairs


def median_of_phase(run: Run, phase: str, steps: np.ndarray, values: np.ndarray) -> float | None:
    """Return the median over the rows of a phase."""
    fitted = has_fitted(run, steps)
    chosen = values[fitted if phase == "fitted" else ~fitted]
    return float(np.nanmedian(chosen)) if len(chosen) >= LEAST_ROWS else None


def by_layer(run: Run, probe: str, measure: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return (steps, {layer: values}) of `<probe>/<layer>/<measure>`, in the network's order; what is not finite is nan."""
    rows = [row for row in run.metrics if any(name.startswith(f"{probe}/") for name in row)]
    names = [name for name in (rows[0] if rows else ()) if name.startswith(f"{probe}/") and name.endswith(f"/{measure}")]
    values = {name.split("/")[1]: np.array([row.get(name) for row in rows], dtype=float) for name in names}
    return np.array([row["step"] for row in rows], dtype=int), values


def median_shift(measure: str) -> Callable[[Run, str], float | None]:
    """Return a measure of the gradient shift, the median over a phase of the median over layers.

    The first layer is left out: nothing is before it, so its shift is 0 by definition.
    """
    return lambda run, phase: median_of_phase(run, phase, *shift_over_steps(run, measure))


def shift_over_steps(run: Run, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values) of a measure of the gradient shift, the median over all layers but the first."""
    steps, layers = by_layer(run, "gradient_shift", measure)
    return steps, np.nanmedian(list(layers.values())[1:], axis=0)


def loss_range(run: Run, phase: str) -> float | None:
    """Return how far apart the highest and the lowest loss along the gradient are, in nats; the median over a phase."""
    (steps, highest), (_, lowest) = run.column("landscape/loss_max"), run.column("landscape/loss_min")
    return median_of_phase(run, phase, steps, highest - lowest)


def median_along_gradient(measure: str) -> Callable[[Run, str], float | None]:
    return lambda run, phase: median_of_phase(run, phase, *run.column(f"landscape/{measure}"))


def median_spectrum(measure: str) -> Callable[[Run], float]:
    """Return a measure of layer Jacobians: the median over layers, on average over the steps after the first.

    The untrained network is left out, since the claim is of training.
    """

    def median(run: Run) -> float:
        steps, layers = by_layer(run, "jacobian", measure)
        return float(np.mean(np.median(list(layers.values()), axis=0)[steps > 0]))

    return median


def unevenness(measure: str) -> Callable[[Run], float]:
    """Return how unequal a magnitude is over the depth: the standard deviation of its logarithm over layers, on average over steps.

    The untrained network counts too, since it is there that sizes explode or vanish with the depth (Bjorck et al. 2018).
    """

    def deviation(run: Run) -> float:
        _, layers = by_layer(run, "magnitudes", measure)
        return float(np.nanmean(np.std(np.log(np.maximum(list(layers.values()), 1e-30)), axis=0)))

    return deviation


def mean_training_loss(run: Run) -> float:
    """Return the training loss over all steps on average, in nats: the lower, the faster a run trained."""
    return float(run.column("train_loss")[1].mean())
