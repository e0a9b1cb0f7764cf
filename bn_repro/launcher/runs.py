"""How runs are started: one here, or many over the cores; finished ones skipped, interrupted ones resumed."""

import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console

from bn_repro.config import Config, differences
from bn_repro.launcher.progress import Progress, RunProgress
from bn_repro.records import files
from bn_repro.records.record import Run, RunBusy, address_of, find_run, run_folder

DONE, SKIPPED, FAILED, INTERRUPTED = "done", "skipped", "failed", "interrupted"
MISTAKE, FAILURE = 2, 1
SECONDS_BETWEEN_REPORTS = 0.5
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class StopFlag:
    """Remember that a signal asked the process to stop, so that it can at a good moment."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def __call__(self) -> bool:
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """Return the shell's code for 'ended by that signal'."""
        return 128 + (self.signal_number or signal.SIGTERM)


@contextmanager
def stopping_on_signals() -> Iterator[StopFlag]:
    """Turn SIGINT, SIGTERM and SLURM's SIGUSR2 into a flag to poll; signals reach the main thread alone."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def remember(number: int, frame: Any) -> None:
        flag.signal_number = number

    before = {number: signal.signal(number, remember) for number in STOPPING}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if flag.signal_number == signal.SIGUSR2 and callable(before[signal.SIGUSR2]):
            signal.raise_signal(signal.SIGUSR2)  # submitit listens to it, and puts the job back into the queue


def run_here(config: Config) -> int:
    """Do one run in this process, show its progress, and return the exit code of the command.

    Of several processes that torchrun or SLURM started for one run, the first shows it.
    """
    name_ranks()
    is_first = os.environ.get("RANK", "0") == "0"
    record = Run(run_folder(config))
    if record.is_complete and not differences(config, record.config):
        if is_first:
            print(result_line(record.address, record.summary) + " (complete already)")
        return 0

    from bn_repro.experiments.supervised import run
    from bn_repro.training.loop import Interrupted

    with stopping_on_signals() as is_stopping, Progress(1, Console(quiet=not is_first)).shown() as progress:
        shown = progress.running[0] = RunProgress(record.address)

        def report(step: int, steps: int, accuracy: float | None) -> None:
            shown.update(step, steps, accuracy)
            progress.refresh()

        try:
            summary = run(config, report, is_stopping)
        except Interrupted:
            progress.say(f"{record.address}: interrupted and saved at step {shown.step}; the same command goes on from there")
            return is_stopping.exit_code
        except (ValueError, RunBusy) as error:
            print(f"error: {error}", file=sys.stderr)
            return MISTAKE
        except OSError as error:
            print(f"error: {record.address}: {error}; the same command goes on from the last checkpoint", file=sys.stderr)
            return FAILURE
    progress.say(f"{result_line(record.address, summary)} -> {record.folder}")
    return 0


def name_ranks() -> None:
    """In a job that submitit runs as several tasks, set the variables that torchrun would set."""
    if "SUBMITIT_EXECUTOR" in os.environ and "RANK" not in os.environ:
        from submitit.helpers import TorchDistributedEnvironment

        TorchDistributedEnvironment().export(set_cuda_visible_devices=False)


def result_line(address: str, summary: dict[str, Any]) -> str:
    """Say in one line how a run ended."""
    if summary["first_bad_step"] is not None:
        return f"{address}: diverged, the loss was not finite from step {summary['first_bad_step']} on"
    return f"{address}: {100 * summary['accuracy']:.2f} % after {summary['steps']} steps"


@dataclass(frozen=True)
class Outcome:
    """How one of many runs ended: done, skipped, failed or interrupted, and why."""

    address: str
    kind: str
    reason: str = ""


def estimated_seconds(config: Config, published: Path) -> float | None:
    """Return how long the published record of the same run took, if there is one."""
    run = find_run(published / config.tier / files.PUBLISHED_RUNS, address_of(config))
    return run.summary["seconds"] if run.is_complete else None


def run_many(
    configs: Sequence[Config],
    jobs: int,
    console: Console,
    seconds_of: Callable[[Config], float | None],
    on_experiment_end: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Do many runs, each in a process of its own; none that fails stops another.

    Experiments are done in the order of their first runs, the runs of one longest first.

    Args:
        jobs: how many at once.
        seconds_of: the estimated duration of a run, None where unknown.
        on_experiment_end: called with an experiment's name when the last of its runs has ended.
    """
    # A fork of a process that has torch loaded starts at once, and shares nothing with its siblings.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bn_repro.experiments.supervised", "torch._dynamo", "wandb"])
    open_runs = {config.experiment: sum(other.experiment == config.experiment for other in configs) for config in configs}
    place = {experiment: number for number, experiment in enumerate(open_runs)}
    waiting = sorted(configs, key=lambda config: (place[config.experiment], -(seconds_of(config) or 0)))
    outcomes: list[Outcome] = []
    processes: dict[Connection, tuple[Any, Config]] = {}
    progress = Progress(len(configs), console, jobs)

    def ended(config: Config, outcome: Outcome) -> None:
        outcomes.append(outcome)
        progress.done += 1
        open_runs[config.experiment] -= 1
        if open_runs[config.experiment] == 0:
            on_experiment_end(config.experiment)

    with stopping_on_signals() as is_stopping, progress.shown():
        while processes or (waiting and not is_stopping()):
            while waiting and len(processes) < jobs and not is_stopping():
                config = waiting.pop(0)
                known = [seconds_of(other) for other in waiting]
                progress.waiting_seconds = None if None in known else sum(known)
                record = Run(run_folder(config))
                if record.is_complete and not differences(config, record.config):
                    ended(config, Outcome(record.address, SKIPPED))
                    continue
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=child, args=(config, sender), name=record.address)
                process.start()
                sender.close()
                processes[receiver] = process, config
                progress.running[receiver.fileno()] = RunProgress(record.address, seconds_of(config))
            if is_stopping():
                for process, _ in processes.values():
                    process.terminate()  # to a run that is stopping already, a second signal means nothing
            for receiver in multiprocessing.connection.wait(list(processes), timeout=SECONDS_BETWEEN_REPORTS):
                process, config = processes[receiver]
                shown = progress.running[receiver.fileno()]
                try:
                    message = receiver.recv()
                except EOFError:
                    process.join()
                    message = Outcome(shown.name, FAILED, f"its process ended with code {process.exitcode}")
                if isinstance(message, Outcome):
                    process.join()
                    del processes[receiver], progress.running[receiver.fileno()]
                    receiver.close()
                    progress.say(message.reason if message.kind == DONE else f"{message.address}: {message.kind}: {message.reason}")
                    ended(config, message)
                else:
                    shown.update(*message)
            progress.refresh()
    return outcomes


def child(config: Config, sender: Connection) -> None:
    """Do one run and send its progress, then its outcome."""
    from bn_repro.experiments.supervised import run
    from bn_repro.training.loop import Interrupted

    address = address_of(config)
    last_sent = 0.0
    with stopping_on_signals() as is_stopping:

        def report(step: int, steps: int, accuracy: float | None) -> None:
            nonlocal last_sent
            if time.monotonic() - last_sent > SECONDS_BETWEEN_REPORTS:
                last_sent = time.monotonic()
                try:
                    sender.send((step, steps, accuracy))
                except OSError:  # the parent is gone: save and leave
                    is_stopping.signal_number = signal.SIGTERM

        try:
            outcome = Outcome(address, DONE, result_line(address, run(config, report, is_stopping)))
        except Interrupted:
            outcome = Outcome(address, INTERRUPTED, "saved; the same command goes on")
        except Exception as error:
            files.write_atomically(run_folder(config) / files.ERROR, traceback.format_exc().encode())
            outcome = Outcome(address, FAILED, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    try:
        sender.send(outcome)
    except OSError:
        pass
