"""What a run's training steps cost, beside those of the same network without norms."""

from collections.abc import Callable

import numpy as np

from bn_repro.records.record import Run


def step_cost(measure: str) -> Callable[[Run], float]:
    """Return a number of a run: what its steps take, as a multiple of what they take without norms; the median over its rows."""
    return lambda run: float(np.median(run.column(f"step_cost/{measure}")[1]))
