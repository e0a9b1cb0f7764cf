"""How sure a number over seeds is: means and ratios with 95 % Student intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds with its interval; infinite bounds where one seed tells nothing of the spread."""

    mean: float
    low: float
    high: float
    n: int


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the arithmetic mean and Student's interval of independent values."""
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    if np.isposinf(values).all():
        return Estimate(np.inf, np.inf, np.inf, len(values))
    if len(values) < 2 or not np.isfinite(values).all():
        return Estimate(mean, -np.inf, np.inf, len(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(mean, mean - half, mean + half, len(values))


def ratio_estimate(ratios: Sequence[float], has_upper_bounds: bool = False, has_lower_bounds: bool = False) -> Estimate:
    """Return the geometric mean of positive ratios, with Student's interval of their logarithms.

    Args:
        has_upper_bounds: some ratios are only known to be at most so large (a run never got there); the interval
            then reaches down to 0.
        has_lower_bounds: some are only known to be at least so large; it then reaches up to infinity.
    """
    logs = mean_estimate(np.log(np.asarray(ratios, dtype=float)))
    low = 0.0 if has_upper_bounds else float(np.exp(logs.low))
    high = np.inf if has_lower_bounds else float(np.exp(logs.high))
    return Estimate(float(np.exp(logs.mean)), low, high, logs.n)
