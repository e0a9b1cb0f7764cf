"""How far long work is: done of total, rate, time left, latest measure; live on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_FRAMES = 0.25
LEAST_SHARE = 0.1  # of a run, before which its rate is that of starting


@dataclass
class RunProgress:
    """One run under way.

    Args:
        seconds: how long it will take in all; None where nothing says.
    """

    name: str
    seconds: float | None = None
    step: int = 0
    steps: int = 0
    measure: str = "-"
    started: float = field(default_factory=time.monotonic)
    first_step: int | None = None

    def update(self, step: int, steps: int, measure: str) -> None:
        if self.first_step is None:
            self.first_step = step
        self.step, self.steps, self.measure = step, steps, measure

    @property
    def steps_per_second(self) -> float:
        return (self.step - (self.first_step or 0)) / max(time.monotonic() - self.started, 1e-6)

    @property
    def seconds_left(self) -> float | None:
        """Return what an estimate of the whole run leaves, and once a tenth of it is done, or without one, what its rate says."""
        share = self.step / self.steps if self.steps else 0.0
        if self.seconds is not None and share < LEAST_SHARE:
            return self.seconds * (1 - share)
        return (self.steps - self.step) / self.steps_per_second if self.steps_per_second > 0 else None

    def cells(self) -> list[str]:
        if not self.steps:
            return [self.name, "starting", "", clock(self.seconds), ""]
        rate = f"{self.steps_per_second:.0f}/s" if self.steps_per_second >= 5 else f"{60 * self.steps_per_second:.1f}/min"
        return [self.name, f"{self.step}/{self.steps}", rate, clock(self.seconds_left), self.measure]


class Progress:
    """Show the runs under way and how many are done.

    Args:
        total: number of runs.
        waiting_seconds: what the runs not yet started will take together, where known.
    """

    def __init__(self, total: int, console: Console, jobs: int = 1, waiting_seconds: float | None = None):
        self.total, self.console, self.jobs, self.waiting_seconds = total, console, jobs, waiting_seconds
        self.done = 0
        self.running: dict[int, RunProgress] = {}
        self.started = self.last_shown = time.monotonic()
        self.live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator["Progress"]:
        if not self.console.is_terminal:
            yield self
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as self.live:
            yield self
        self.live = None

    def say(self, line: str) -> None:
        """Print a line that stays, above the table."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def refresh(self) -> None:
        """Show the present state, if it is time to."""
        waited = time.monotonic() - self.last_shown
        if self.live and waited > SECONDS_BETWEEN_FRAMES:
            self.live.update(self.table())
        elif not self.live and waited > SECONDS_BETWEEN_LINES:
            for run in self.running.values():
                self.say("  " + "  ".join(run.cells()))
            if self.total > 1:
                self.say(self.headline())
        else:
            return
        self.last_shown = time.monotonic()

    def headline(self) -> str:
        return (
            f"  {self.done} of {self.total} runs done, {clock(time.monotonic() - self.started)} so far, {clock(self.seconds_left())} left"
        )

    def seconds_left(self) -> float | None:
        left = [seconds for run in self.running.values() if (seconds := run.seconds_left) is not None]
        if self.waiting_seconds is None or len(left) < len(self.running):
            return None
        return max([(sum(left) + self.waiting_seconds) / self.jobs, *left])

    def table(self) -> Table:
        table = Table(title=self.headline() if self.total > 1 else None, box=None, pad_edge=False, title_justify="left")
        for name in ("run", "", "step", "rate", "left", "latest"):
            table.add_column(name, justify="left" if name in ("run", "") else "right")
        for run in self.running.values():
            name, *cells = run.cells()
            table.add_row(name, ProgressBar(run.steps or 1, run.step, width=20), *cells)
        return table


def clock(seconds: float | None) -> str:
    """Write a duration as 1:02:03 or 2:03; ? where unknown."""
    if seconds is None:
        return "?"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
