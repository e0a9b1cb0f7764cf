"""How a process leaves when a signal asks it to: at once while nothing would be lost, else at the next good moment."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)  # the last is SLURM's
SHOW_CURSOR = "\x1b[?25h"


class StopFlag:
    """Remember that a signal asked the process to stop; asking the flag says that from now on there is something to save.

    Args:
        line: what is said when the process leaves at once; nothing if empty.
    """

    def __init__(self, line: str = "interrupted"):
        self.line, self.leaves_at_once = line, True
        self.signal_number: int | None = None
        self.before: dict[int, Any] = {}
        self.also_ends: int | None = None  # a process that has no use without this one

    def __call__(self) -> bool:
        self.leaves_at_once = False
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """Return the shell's code for 'ended by that signal'."""
        return 128 + (self.signal_number or signal.SIGTERM)

    def remember(self, number: int, frame: Any) -> None:
        self.signal_number = number
        if not self.leaves_at_once:
            return
        if number == signal.SIGUSR2 and callable(self.before.get(number)):
            self.before[number](number, frame)  # submitit's, which puts the job back into the queue
            return
        # Not by an exception, which imports and foreign code may swallow or answer with pages.
        cursor = SHOW_CURSOR if sys.stdout.isatty() else ""
        os.write(2, f"{cursor}{self.line}\n".encode() if self.line else b"")
        if self.also_ends:
            os.kill(self.also_ends, signal.SIGKILL)
        os._exit(self.exit_code)


@contextmanager
def stopping_on_signals(line: str = "interrupted") -> Iterator[StopFlag]:
    """Turn SIGINT, SIGTERM and SLURM's SIGUSR2 into a flag to poll, one for the whole process; signals reach the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield StopFlag(line)
        return
    flag = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(flag, StopFlag):
        if flag.signal_number is not None:
            flag.remember(flag.signal_number, None)
        outer_line, flag.line, flag.leaves_at_once = flag.line, line, True
        try:
            yield flag
        finally:
            flag.line, flag.leaves_at_once = outer_line, True
        return
    flag = leave_on_signals(line)
    try:
        yield flag
    finally:
        for number, handler in flag.before.items():
            signal.signal(number, handler)
        if flag.signal_number == signal.SIGUSR2 and callable(flag.before[signal.SIGUSR2]):
            signal.raise_signal(signal.SIGUSR2)  # submitit listens to it, and puts the job back into the queue


def leave_on_signals(line: str = "interrupted") -> StopFlag:
    """From now on leave with one line and code 130 or 143; a script's first call, before the imports that take long."""
    flag = StopFlag(line)
    flag.before = {number: signal.signal(number, flag.remember) for number in STOPPING}
    return flag


@contextmanager
def signals_kept_back() -> Iterator[None]:
    """Let signals wait, for this process and for good for those that start meanwhile, until `let_signals_in`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_in() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
