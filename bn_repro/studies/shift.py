"""What records say of internal covariate shift in each of its definitions, of the landscape, Jacobians and depth: a number per run."""

from collections.abc import Callable, Sequence

import numpy as np

from bn_repro.measures.drift import drift
from bn_repro.measures.measures import final_accuracy
from bn_repro.records.record import Run
from bn_repro.verdicts.statistics import Estimate, mean_estimate

INPUTS = "after_norm"  # the inputs of nonlinearities, as in Figures 1b and 1c


def median_drift(measure: str) -> Callable[[Run], float]:
    """Return a measure of `claims.drift`: the median over the depth."""
    return lambda run: float(np.median(drift(run.activations, INPUTS)[measure]))


def by_layer(run: Run, probe: str, measure: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return (steps, {layer: values}) of `<probe>/<layer>/<measure>`, in the network's order; what is not finite is nan."""
    rows = [row for row in run.metrics if any(name.startswith(f"{probe}/") for name in row)]
    names = [name for name in (rows[0] if rows else ()) if name.startswith(f"{probe}/") and name.endswith(f"/{measure}")]
    values = {name.split("/")[1]: np.array([row.get(name) for row in rows], dtype=float) for name in names}
    return np.array([row["step"] for row in rows], dtype=int), values


def median_shift(measure: str) -> Callable[[Run], float]:
    """Return a measure of the gradient shift, the median over steps of the median over layers.

    The first layer is left out: nothing is before it, so its shift is 0 by definition.
    """
    return lambda run: float(np.nanmedian(shift_over_steps(run, measure)[1]))


def shift_over_steps(run: Run, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values) of a measure of the gradient shift, the median over all layers but the first."""
    steps, layers = by_layer(run, "gradient_shift", measure)
    return steps, np.nanmedian(list(layers.values())[1:], axis=0)


def loss_range(run: Run) -> float:
    """Return how far apart the highest and the lowest loss along the gradient are, in nats; the median over steps."""
    return float(np.median(run.column("landscape/loss_max")[1] - run.column("landscape/loss_min")[1]))


def median_along_gradient(measure: str) -> Callable[[Run], float]:
    return lambda run: float(np.median(run.column(f"landscape/{measure}")[1]))


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


def above_middle(measure: Callable[[Run], float], is_less_better: bool = False) -> Callable[[Sequence[tuple]], Estimate]:
    """Average how much better the subject is than the middle between two references, without BN and with BN.

    Pairs are of the two references' runs and the subject's. Where BN's own gain is not clearly above 0 there is none to
    keep, and the interval is open on both sides.
    """
    sign = -1 if is_less_better else 1

    def estimate(pairs: Sequence[tuple[tuple[Run, ...], tuple[Run, ...]]]) -> Estimate:
        gain = mean_estimate([sign * (measure(bn) - measure(plain)) for (plain, bn), _ in pairs])
        past = mean_estimate([sign * (measure(subject) - np.mean([measure(run) for run in both])) for both, (subject,) in pairs])
        return past if gain.low > 0 else Estimate(past.mean, -np.inf, np.inf, past.n)

    return estimate


accuracy_above_middle = above_middle(final_accuracy)
loss_below_middle = above_middle(mean_training_loss, is_less_better=True)
