"""What a job asks of a cluster: the file that train.py uses, what its runs need, and what a line gives."""

from collections.abc import Sequence
from typing import Any

import yaml

from bn_repro.checks.values import nearest, shown, told
from bn_repro.config import RunConfig
from bn_repro.launcher.grids import CONFIGS

OWN_SETTINGS = ("defaults", "submitit_folder")  # of Hydra's launcher, not of a job


def job_settings(given: Sequence[str], configs: Sequence[RunConfig]) -> dict[str, Any]:
    """Return what each job asks of SLURM: the file that train.py uses, then what the runs need, then what is given as KEY=VALUE.

    Raises:
        ValueError: there is no such setting.
    """
    shared, _ = names_of_settings()
    chosen = yaml.safe_load((CONFIGS / "hydra" / "launcher" / "slurm.yaml").read_text())
    settings = {name: value for name, value in chosen.items() if name not in OWN_SETTINGS}
    settings["cpus_per_task"] = max(config.threads + config.num_processes for config in configs)
    settings |= {"gpus_per_node": 1} if any(config.device.startswith("cuda") for config in configs) else {}
    settings |= given_settings(given)
    return {name if name in shared else f"slurm_{name}": value for name, value in settings.items()}


def given_settings(given: Sequence[str]) -> dict[str, Any]:
    """Read settings KEY=VALUE of a job.

    Raises:
        ValueError: there is no such setting.
    """
    _, known = names_of_settings()
    settings: dict[str, Any] = {}
    for setting in given:
        name, equals, value = setting.partition("=")
        if not (equals and value) or name not in known:
            raise ValueError(f"--slurm {shown(setting)}: not a setting KEY=VALUE of a job{nearest(name, known)}; {told(name, known)}")
        if name in settings:
            raise ValueError(f"--slurm {shown(setting)}: {name} is given twice")
        settings[name] = int(value) if value.isdecimal() and value.isascii() else value
    return settings


def names_of_settings() -> tuple[list[str], list[str]]:
    """Name the settings of jobs that all clusters share, and with them those of SLURM."""
    from submitit import AutoExecutor, SlurmExecutor

    shared = sorted(AutoExecutor._typed_parameters())
    return shared, sorted({*shared, *SlurmExecutor._valid_parameters(), "max_num_timeout"})
