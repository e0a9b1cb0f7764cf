"""How a training command line is carried out: its runs one after another here, or by Hydra's launchers."""

import os
import sys
import traceback
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from bn_repro.checks.arguments import FAILURE, MISTAKE
from bn_repro.config import RunConfig
from bn_repro.launcher.command_line import Point, Request
from bn_repro.launcher.grids import CONFIGS, MAIN_CONFIG, hydra_ready, run_name, to_config

FIRST_SIGNAL_CODE = 128  # a run's exit code from here on says that a signal ended it
MOST_REASONS = 3  # told


def do_runs(request: Request) -> int:
    """Do all runs; one that fails stops no other, an interrupted one stops all. Return the exit code of the command."""
    tell_folders(request.runs[0][1])
    number = len(request.runs) + len(request.refused)
    reasons = list(dict.fromkeys(request.refused))
    more = f"; and {len(reasons) - MOST_REASONS} more" if len(reasons) > MOST_REASONS else ""
    refused = f"{len(request.refused)} of {number} runs refused: {'; '.join(reasons[:MOST_REASONS])}{more}"
    if request.refused:
        print(f"{refused}; the others are done", file=sys.stderr)
    if request.launcher:
        codes = launched([overrides for overrides, _ in request.runs], request.launcher)
    else:
        codes = one_after_another([config for _, config in request.runs])
    failed = [config.name for (_, config), code in zip(request.runs, codes) if code]
    if codes and codes[-1] >= FIRST_SIGNAL_CODE:
        return codes[-1]
    if number == 1:
        return codes[0]
    if failed:
        print(f"error: {len(failed)} of {number} runs failed: {', '.join(failed)}", file=sys.stderr)
    if request.refused:
        print(f"error: {refused}", file=sys.stderr)
    return max(codes) or (MISTAKE if request.refused else 0)


def one_after_another(configs: list[RunConfig]) -> list[int]:
    from bn_repro.launcher.runs import run_here

    codes: list[int] = []
    for config in configs:
        try:
            codes.append(run_here(config))
        except Exception:
            if len(configs) == 1:
                raise
            traceback.print_exc()
            codes.append(FAILURE)
        if codes[-1] >= FIRST_SIGNAL_CODE:
            break
    return codes


def launched(points: list[Point], launcher: list[str]) -> list[int]:
    """Give the runs to the launcher that Hydra's overrides choose, and wait for them."""
    with hydra_ready():
        hydra = GlobalHydra.instance().hydra
        config = hydra.compose_config(MAIN_CONFIG, launcher, RunMode.MULTIRUN, with_log_configuration=False)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        started = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
        return [code_of(job) for job in started.launch([list(point) for point in points], initial_job_idx=0)]


def code_of(job: JobReturn) -> int:
    try:
        return int(job.return_value)
    except Exception:  # the job's own
        traceback.print_exc()
        return FAILURE


def task(composed: DictConfig) -> int:
    """Do one run in a process that a launcher started, and return its exit code."""
    from hydra.core.hydra_config import HydraConfig

    from bn_repro.launcher.runs import run_here

    config = to_config(composed)
    config.name = run_name(config, HydraConfig.get().overrides.task)
    return run_here(config)


def tell_folders(config: RunConfig) -> None:
    """Say where results and data go, if the command is not called from the folder of the code."""
    here = Path.cwd()
    if not here.samefile(CONFIGS.parent) and os.environ.get("RANK", "0") == "0":
        data = "".join(f", data to {here / folder}" for _, folder in config.sources)
        print(f"called from {here}: results go to {here / config.results_folder}{data}")
