"""What the learning rate of a step is, as a pure function of the step."""

import math

from bn_repro.config import TrainConfig


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
