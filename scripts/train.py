"""Train one run, or with -m a grid: python scripts/train.py experiment=mnist_sigmoid/quick norm=batch seed=0"""

import sys

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

import hydra
from omegaconf import DictConfig

from bn_repro.launcher.command_line import refuse_mistakes
from bn_repro.launcher.grids import CONFIGS, MAIN_CONFIG, register_schema, run_name, to_config


def task(composed: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig

    config = to_config(composed)
    config.name = run_name(config, HydraConfig.get().overrides.task)

    from bn_repro.launcher.runs import run_here

    exit_code = run_here(config)
    if exit_code:
        sys.exit(exit_code)


if __name__ == "__main__":
    try:
        refuse_mistakes(sys.argv[1:])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    register_schema()
    hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=MAIN_CONFIG)(task)()
