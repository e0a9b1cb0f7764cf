"""Configs for tests, composed as the command line composes them."""

from functools import cache

from hydra import compose

from bn_repro.config import Config
from bn_repro.launcher.grids import MAIN_CONFIG, hydra_ready, to_config

SMOKE = ("experiment=mnist_sigmoid/smoke", "wandb.mode=disabled")


@cache
def composed(*overrides: str) -> Config:
    """Return one run's config; it is shared, so change a copy (`dataclasses.replace`)."""
    with hydra_ready():
        return to_config(compose(MAIN_CONFIG, overrides=list(overrides)))


def smoke(*overrides: str) -> Config:
    given = {override.split("=")[0] for override in overrides}
    defaults = [override for override in ("norm=batch", "seed=0") if override.split("=")[0] not in given]
    return composed(*SMOKE, *defaults, *overrides)
