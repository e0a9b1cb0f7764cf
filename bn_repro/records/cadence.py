"""Which steps a run has rows and activation records of, as pure functions of its config."""

import math
from functools import cache
from typing import Any

FIRST_SPACED_ROW = 10  # of records that do not say


@cache
def extra_rows(eval_every: int, spacing: float | None, first: int) -> frozenset[int]:
    """Return the steps of the rows that stand in geometric distances, up to where rows every `eval_every` steps are as close."""
    steps, step = [], first
    while spacing and step * spacing < eval_every:
        steps.append(step)
        step = max(step + 1, math.floor(step * (1 + spacing)))
    return frozenset(steps)


def steps_of_rows(config: dict[str, Any], end: int) -> list[int]:
    """Return the steps up to `end` that a run of a flat config has rows of; the last row of a run that ended early may be one besides."""
    last, every = config["train.steps"], config["train.eval_every"]
    extra = extra_rows(every, config.get("train.row_spacing"), config.get("train.first_spaced_row", FIRST_SPACED_ROW))
    return sorted(step for step in {*range(0, last, every), last, *extra} if step <= min(end, last))


def steps_of_activations(config: dict[str, Any], end: int) -> list[int]:
    """Return the steps up to `end` that a run of a flat config has activation records of."""
    last, every = config["train.steps"], config["probe.every"]
    return [step for step in [*range(0, last, every), last] if step <= end] if every else []
