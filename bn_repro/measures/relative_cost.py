"""What a run's training steps cost, beside those of the same network without norms."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bn_repro.records.record import Run
from bn_repro.verdicts.selection import runs_of


def relative_cost(measure: str) -> Callable[[Run], float]:
    """Return a function of a run: the median over its rows of what its steps take over what they take without norms."""
    return lambda run: float(np.median(run.column(f"step_cost/{measure}")[1]))


def timed_runs(root: Path, arm: str, tier: str) -> dict[int, Run]:
    """Return the complete runs of `<experiment>/<arm>` that timed a step, by seed; one that diverged before has not."""
    return {seed: run for seed, run in runs_of(root, arm, tier).items() if len(run.column("step_cost/step")[0])}
