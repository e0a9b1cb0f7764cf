"""Which configs cannot be meant, whatever their kind: what all runs have, then what the kind's own checks say."""

import re
from collections.abc import Iterator

from bn_repro.checks import configs, evolution
from bn_repro.checks.values import check_text, check_value, check_wandb_name, shown
from bn_repro.config import RunConfig, walk

CHECKS = {"supervised": configs, "bag_of_words": configs, "evolution": evolution}  # by kind


def check(config: RunConfig) -> None:
    """Refuse a config that cannot be meant.

    Raises:
        ValueError: one line that names the knob, its value and what it may be.
    """
    for name, value, metadata in walk(config):
        if isinstance(value, str):
            check_text(name, value)
        check_value(name, value, metadata)
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,2})?", config.device):
        raise ValueError(f"device={shown(config.device)} is not a device; choices: cpu, cuda, cuda:N")
    check_wandb_name("wandb.project", config.wandb.project)
    if config.wandb.entity is not None:
        check_wandb_name("wandb.entity", config.wandb.entity)
    if config.network.norm != config.norm:
        raise ValueError(f"network.norm={config.network.norm} is not norm={config.norm}; norm={config.network.norm} sets both")
    CHECKS[config.kind].check_together(config)


def too_many(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yield (knob, why) of what asks for more than there is; all that there is would then be taken."""
    yield from CHECKS[config.kind].too_many(config)


def without_effect(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yield (knob, with what) of what changes nothing in this config."""
    yield from CHECKS[config.kind].without_effect(config)
