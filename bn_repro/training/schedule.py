"""What the learning rate of a step is, and whether it has a row of metrics, as pure functions of the step."""

import math

from bn_repro.config import TrainConfig
from bn_repro.records.cadence import extra_rows


def lr_at(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a step: from `lr` at step 0 to `lr * final_lr_ratio` at the last one.

    `exponential` is the paper's decay (section 4.2); its constant is not stated there.
    """
    if config.schedule == "constant":
        return config.lr
    fraction = step / config.steps
    if config.schedule == "exponential":
        return config.lr * config.final_lr_ratio**fraction
    low = config.lr * config.final_lr_ratio
    return low + (config.lr - low) * (1 + math.cos(math.pi * fraction)) / 2


def has_row(step: int, config: TrainConfig) -> bool:
    """Say whether accuracy is measured before a step: every `eval_every` steps, at the end, and as early as `row_spacing` asks for."""
    return step % config.eval_every == 0 or step == config.steps or step in extra_rows(config.eval_every, config.row_spacing)
