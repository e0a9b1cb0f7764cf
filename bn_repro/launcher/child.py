"""One run in a process of its own, which tells how far it is and how it ended."""

import signal
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from bn_repro.config import RunConfig
from bn_repro.launcher.signals import StopFlag, let_signals_in, stopping_on_signals
from bn_repro.records import files
from bn_repro.records.damage import Damaged
from bn_repro.records.lock import Lock, RunBusy
from bn_repro.records.record import STOPPED_AT_CHANCE, Run, address_of, run_folder

DONE, SKIPPED, FAILED, INTERRUPTED, BUSY = "done", "skipped", "failed", "interrupted", "busy"
SECONDS_BETWEEN_REPORTS = 0.5


@dataclass(frozen=True)
class Outcome:
    """How one of many runs ended: done, skipped, failed, interrupted, or left to another process that is at it; and why."""

    address: str
    kind: str
    reason: str = ""


def child(config: RunConfig, sender: Connection) -> None:
    """Do one run and send its progress, then its outcome."""
    with stopping_on_signals(line="") as is_stopping:
        let_signals_in()
        outcome = outcome_of(config, sender, is_stopping)
    try:
        sender.send(outcome)
    except OSError:
        pass


class Listener(Protocol):
    """What is told how far a run is."""

    def send(self, message: Any, /) -> None: ...


def outcome_of(config: RunConfig, sender: Listener, is_stopping: StopFlag) -> Outcome:
    from bn_repro.experiments.kinds import run
    from bn_repro.training.loop import Interrupted

    address, last_sent = address_of(config), 0.0

    def report(step: int, steps: int, measure: float | None) -> None:
        nonlocal last_sent
        if time.monotonic() - last_sent > SECONDS_BETWEEN_REPORTS:
            last_sent = time.monotonic()
            try:
                sender.send((step, steps, shown(config, measure)))
            except OSError:  # the parent is gone: save and leave
                is_stopping.signal_number = signal.SIGTERM

    try:
        return Outcome(address, DONE, result_line(address, run(config, report, is_stopping)))
    except Interrupted:
        return Outcome(address, INTERRUPTED, "saved; the same command goes on")
    except RunBusy as error:
        return Outcome(address, BUSY, str(error))
    except Damaged as damage:
        return Outcome(address, FAILED, str(damage))
    except Exception as error:
        keep_error(config, traceback.format_exc())
        return Outcome(address, FAILED, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def keep_error(config: RunConfig, text: str) -> None:
    """Write an error beside the run, unless another process has taken the run up, or finished it."""
    folder = run_folder(config)
    try:
        with Lock(folder):
            if not Run(folder).has_summary:
                files.write_atomically(folder / files.ERROR, text.encode())
    except (RunBusy, Damaged, OSError):
        pass  # the outcome says in a line what it was


def shown(config: RunConfig, measure: float | None) -> str:
    """Write the newest of what a run is to make large; a dash before the first row."""
    return "-" if measure is None else config.written(measure)


def result_line(address: str, summary: dict[str, Any]) -> str:
    """Say in one line how a run ended."""
    if summary["first_bad_step"] is not None:
        return f"{address}: diverged, the loss was not finite from step {summary['first_bad_step']} on"
    if summary["status"] == STOPPED_AT_CHANCE:
        return f"{address}: stopped, at chance after {summary['steps']} steps"
    if "score" in summary:
        return f"{address}: score {summary['score']:.1f} after {summary['frames']:,} frames"
    reached = f"perplexity {summary['perplexity']:.1f}" if "perplexity" in summary else f"{100 * summary['accuracy']:.2f} %"
    return f"{address}: {reached} after {summary['steps']} steps"
