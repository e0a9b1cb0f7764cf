"""Many runs over the cores: which waits, which is under way, which another process does, how each ended."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from rich.console import Console

from bn_repro.config import RunConfig
from bn_repro.launcher.child import BUSY, DONE, FAILED, INTERRUPTED, SKIPPED, Outcome, child
from bn_repro.launcher.durations import Durations
from bn_repro.launcher.grids import needed_run
from bn_repro.launcher.progress import Progress, RunProgress
from bn_repro.launcher.signals import StopFlag, signals_kept_back
from bn_repro.records.damage import Damaged
from bn_repro.records.lock import is_busy, tidy
from bn_repro.records.record import Run, address_of, finished_run, run_folder

PRELOADED = ["bn_repro.experiments.kinds", "torch._dynamo", "safetensors.torch", "wandb", "wandb.sdk.launch"]


class ManyRuns:
    """Keep the books of many runs, each in a process of its own.

    Args:
        jobs: how many at once.
        seconds: how long a published record says that each run took, by its address; None where none does.
        on_experiment_end: called with an experiment's name when the last of its runs has ended.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        console: Console,
        jobs: int,
        seconds: Mapping[str, float | None],
        on_experiment_end: Callable[[str], None],
    ):
        self.durations, self.on_experiment_end = Durations(seconds), on_experiment_end
        place = {experiment: number for number, experiment in enumerate(dict.fromkeys(config.experiment for config in configs))}
        needed = {needed_run(config) for config in configs}
        self._has_summary = {address_of(config): Run(run_folder(config)).has_summary for config in configs}

        def turn(config: RunConfig) -> tuple[bool, int, bool, float]:
            is_later = place[config.experiment] > 0 and address_of(config) not in needed
            return is_later, place[config.experiment], not self._has_summary[address_of(config)], -(seconds[address_of(config)] or 0)

        self.waiting = sorted(configs, key=turn)
        self.busy: list[RunConfig] = []
        self.processes: dict[Connection, tuple[Any, RunConfig]] = {}
        self.outcomes: list[Outcome] = []
        self.progress = Progress(len(configs), console, jobs)
        self._open_runs = Counter(config.experiment for config in configs)
        self._told_busy: set[str] = set()
        self._context: Any = None

    def next_ready(self) -> RunConfig | None:
        """Take the first waiting run off the list that starts from no result still to come."""
        under_way = [config for _, config in self.processes.values()]
        to_come = {address_of(config) for config in (*self.waiting, *self.busy, *under_way)}
        place = next((place for place, config in enumerate(self.waiting) if needed_run(config) not in to_come), None)
        return None if place is None else self.waiting.pop(place)

    def take_up(self, config: RunConfig, is_stopping: StopFlag) -> None:
        """Start a run, unless it is finished, damaged, or done by another process at this moment."""
        address, folder = address_of(config), run_folder(config)
        try:
            if finished_run(config):
                tidy(folder)
                self._end(config, Outcome(address, SKIPPED))
            elif is_busy(folder):
                self._come_back_to(config)
            else:
                self._start(config, is_stopping)
        except Damaged as damage:
            self._end(config, Outcome(address, FAILED, str(damage)))
        except (OSError, EOFError) as error:  # the last says that a signal ended what runs are forked from
            self._end(config, Outcome(address, FAILED, f"no process could be started for it: {error}"))

    def hear(self, receiver: Connection, is_stopping: bool) -> None:
        """Take what a run's process says: how far it is, or how it ended."""
        process, config = self.processes[receiver]
        shown = self.progress.running[receiver.fileno()]
        try:
            message = receiver.recv()
        except EOFError:
            process.join()
            kind = INTERRUPTED if is_stopping else FAILED
            message = Outcome(shown.name, kind, f"its process ended with code {process.exitcode}")
        if not isinstance(message, Outcome):
            shown.update(*message)
            return
        process.join()
        if message.kind == DONE and shown.first_step == 0:
            self.durations.note(config, time.monotonic() - shown.started)
        del self.processes[receiver], self.progress.running[receiver.fileno()]
        receiver.close()
        if message.kind == BUSY:
            self._come_back_to(config)
        else:
            self._end(config, message)

    def _start(self, config: RunConfig, is_stopping: StopFlag) -> None:
        self._context = self._context or ready_context(is_stopping)
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=child, args=(config, sender), name=address_of(config))
        process.start()
        sender.close()
        self.processes[receiver] = process, config
        self.progress.running[receiver.fileno()] = RunProgress(address_of(config), self.durations.of(config))
        self.progress.waiting_seconds = self.seconds_waiting()

    def seconds_waiting(self) -> float | None:
        """Return the seconds that the waiting runs will take together; None if one has no estimate."""
        waiting = [config for config in (*self.waiting, *self.busy) if not self._has_summary[address_of(config)]]
        known = [seconds for config in waiting if (seconds := self.durations.of(config)) is not None]
        return None if len(known) < len(waiting) else sum(known)

    def _come_back_to(self, config: RunConfig) -> None:
        self.busy.append(config)
        address = address_of(config)
        if address not in self._told_busy:
            self.progress.say(f"{address}: another process does it; it is come back to last")
        self._told_busy.add(address)

    def _end(self, config: RunConfig, outcome: Outcome) -> None:
        if outcome.kind != SKIPPED:
            self.progress.say(outcome.reason if outcome.kind == DONE else f"{outcome.address}: {outcome.kind}: {outcome.reason}")
        self.outcomes.append(outcome)
        self.progress.done += 1
        self._open_runs[config.experiment] -= 1
        if self._open_runs[config.experiment] == 0:
            self.on_experiment_end(config.experiment)


def ready_context(is_stopping: StopFlag) -> Any:
    """Return what starts processes, once it can: a fork of a process that has torch loaded starts at once, and shares nothing with others.

    That process, and its forks until they listen themselves, are spared the signals of a terminal or a batch system.
    """
    context = multiprocessing.get_context("forkserver")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(PRELOADED)
        resource_tracker.ensure_running()  # it lets signals in, so not between
        with signals_kept_back():
            forkserver.ensure_running()
        is_stopping.also_ends = getattr(forkserver._forkserver, "_forkserver_pid", None)
    is_stopping.leaves_at_once = True
    first = context.Process(target=int)
    first.start()
    first.join()
    return context
