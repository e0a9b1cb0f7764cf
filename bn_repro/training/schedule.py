"""What the learning rate of a step is, of each layer, and whether the step has a row of metrics: pure functions of the step."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from torch.optim import Optimizer

from bn_repro.config import TrainConfig
from bn_repro.records.cadence import extra_rows


def lr_at(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a step: from `lr` at step 0 to `lr * final_lr_ratio` at the last one.

    `exponential` is the paper's decay (section 4.2); its constant is not stated there. `slanted_triangular` (Howard & Ruder
    2018) rises from `lr * final_lr_ratio` to `lr` in the first `warmup` of the steps, and falls back in the others.
    """
    if config.schedule == "constant":
        return config.lr
    fraction = step / config.steps
    if config.schedule == "exponential":
        return config.lr * config.final_lr_ratio**fraction
    low = config.lr * config.final_lr_ratio
    if config.schedule == "slanted_triangular":
        return low + (config.lr - low) * min(fraction / config.warmup, (1 - fraction) / (1 - config.warmup))
    return low + (config.lr - low) * (1 + math.cos(math.pi * fraction)) / 2


def has_row(step: int, config: TrainConfig) -> bool:
    """Say whether accuracy is measured before a step: every `eval_every` steps, at the end, and as early as `row_spacing` asks for."""
    spaced = extra_rows(config.eval_every, config.row_spacing, config.first_spaced_row)
    return step % config.eval_every == 0 or step == config.steps or step in spaced


def set_rates(optimizer: Optimizer, step: int, config: TrainConfig) -> None:
    """Give each group of parameters its learning rate of a step, and freeze those whose turn has not come.

    The optimizer's groups are layers from the bottom up. Discriminative rates: each has `layer_lr_ratio` times the rate of
    the one above. Gradual unfreezing: from the top down, one more trains every `unfreeze_every` steps.
    """
    lr = lr_at(step, config)
    for depth, group in enumerate(reversed(optimizer.param_groups)):
        group["lr"] = lr * config.layer_lr_ratio**depth
        if config.unfreeze_every:
            for parameter in group["params"]:
                parameter.requires_grad_(step >= depth * config.unfreeze_every)


@contextmanager
def at_rates_of(optimizer: Optimizer, step: int, config: TrainConfig) -> Iterator[None]:
    """Let the optimizer be as at a step, and as it was after."""
    before = [(group["lr"], [p.requires_grad for p in group["params"]]) for group in optimizer.param_groups]
    try:
        set_rates(optimizer, step, config)
        yield
    finally:
        for group, (lr, required) in zip(optimizer.param_groups, before):
            group["lr"] = lr
            for parameter, is_required in zip(group["params"], required):
                parameter.requires_grad_(is_required)
