"""How runs are started: one here, or many over the cores; finished ones skipped, interrupted ones resumed."""

import multiprocessing.connection
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bn_repro.config import RunConfig
from bn_repro.launcher.child import SECONDS_BETWEEN_REPORTS, Outcome, result_line, shown
from bn_repro.launcher.many import ManyRuns
from bn_repro.launcher.progress import Progress, RunProgress
from bn_repro.launcher.signals import stopping_on_signals
from bn_repro.records import files
from bn_repro.records.damage import Damaged
from bn_repro.records.lock import RunBusy, tidy
from bn_repro.records.record import address_of, find_run, finished_run, run_folder

MISTAKE, FAILURE = 2, 1


def run_here(config: RunConfig) -> int:
    """Do one run in this process, show its progress, and return the exit code of the command.

    Of several processes that torchrun or SLURM started for one run, the first shows it.
    """
    name_ranks()
    is_first = os.environ.get("RANK", "0") == "0"
    address, folder = address_of(config), run_folder(config)
    with stopping_on_signals(f"{address}: interrupted before a step was taken; nothing is lost" if is_first else "") as is_stopping:
        try:
            finished = finished_run(config)
        except Damaged as damage:
            if is_first:
                print(f"error: {damage}", file=sys.stderr)
            return FAILURE
        if finished:
            if is_first:
                tidy(folder)
                print(result_line(address, finished.summary) + " (complete already)")
            return 0

        from bn_repro.experiments.kinds import run
        from bn_repro.training.loop import Interrupted

        with Progress(1, Console(quiet=not is_first)).shown() as progress:
            under_way = progress.running[0] = RunProgress(address)

            def report(step: int, steps: int, measure: float | None) -> None:
                under_way.update(step, steps, shown(config, measure))
                progress.refresh()

            try:
                summary = run(config, report, is_stopping)
            except Interrupted:
                progress.say(f"{address}: interrupted and saved at step {under_way.step}; the same command goes on from there")
                return is_stopping.exit_code
            except Damaged as damage:
                print(f"error: {damage}", file=sys.stderr)
                return FAILURE
            except (ValueError, RunBusy) as error:
                print(f"error: {error}", file=sys.stderr)
                return MISTAKE
            except OSError as error:
                print(f"error: {address}: {error}; the same command goes on from the last checkpoint", file=sys.stderr)
                return FAILURE
        progress.say(f"{result_line(address, summary)} -> {folder}")
        return 0


def name_ranks() -> None:
    """In a job that submitit runs as several tasks, set the variables that torchrun would set."""
    if "SUBMITIT_EXECUTOR" in os.environ and "RANK" not in os.environ:
        from submitit.helpers import TorchDistributedEnvironment

        TorchDistributedEnvironment().export(set_cuda_visible_devices=False)


def estimated_seconds(config: RunConfig, published: Path) -> float | None:
    """Return how long the published record of the same run took, if there is one that can be read."""
    try:
        run = find_run(published / config.tier / files.PUBLISHED_RUNS, address_of(config))
        return run.summary["seconds"] if run.has_summary else None
    except Damaged:
        return None


def run_many(
    configs: Sequence[RunConfig],
    jobs: int,
    console: Console,
    seconds_of: Callable[[RunConfig], float | None],
    on_experiment_end: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Do many runs, each in a process of its own; none that fails stops another.

    Experiments are done in the order of their first runs, the runs of one longest first; a run that starts from another's result
    waits for it, and the other comes after the first experiment, so that it does not run alone at the end. What another process
    does is come back to last: it is then finished, or taken over from a process that is gone.

    Args:
        jobs: how many at once.
        seconds_of: the estimated duration of a run, None where unknown.
        on_experiment_end: called with an experiment's name when the last of its runs has ended.
    """
    seconds = {address_of(config): seconds_of(config) for config in configs}
    many = ManyRuns(configs, console, jobs, seconds, on_experiment_end)
    with stopping_on_signals("interrupted before a run was started") as is_stopping, many.progress.shown():
        while many.processes or ((many.waiting or many.busy) and not is_stopping()):
            while len(many.processes) < jobs and not is_stopping() and (config := many.next_ready()):
                many.take_up(config, is_stopping)
            if is_stopping():
                for process, _ in many.processes.values():
                    process.terminate()  # to a run that is stopping already, a second signal means nothing
            ready = multiprocessing.connection.wait(list(many.processes), timeout=SECONDS_BETWEEN_REPORTS)
            for receiver in [one for one in many.processes if one in ready]:
                many.hear(receiver, is_stopping())
            if not (many.waiting and many.processes):
                many.waiting, many.busy = many.waiting + many.busy, []
            many.progress.refresh()
    return many.outcomes
