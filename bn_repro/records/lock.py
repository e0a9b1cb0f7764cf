"""One process at a time writes a run's folder, and sweeps there what a killed one left."""

import fcntl
import os
import re
import stat
import time
from pathlib import Path

from bn_repro.records import files
from bn_repro.records.damage import Damaged, check_kind

OF_A_RUN = (
    *(files.CONFIG, files.ENVIRONMENT, files.METRICS, files.ACTIVATIONS, files.CORRECT, files.WEIGHTS, files.SUMMARY, files.ERROR),
    *(files.PREDICTIONS, files.VOCABULARY, files.FEATURES),
)
OF_ANY_NAME = "|".join([*map(re.escape, OF_A_RUN), r"step-\d+-\w+\.pt"])
UNFINISHED = re.compile(rf"\.({OF_ANY_NAME})\.\w{{8}}")  # as `write_atomically` names a file at first
SECONDS_TO_LOOK = 0.2  # how long another process may hold a lock that only asks who has it


class RunBusy(RuntimeError):
    """Another process is writing this run."""


class Lock:
    """Hold a run's folder, which is made if it is not there; it is let go by `close`, and by the end of the process.

    Raises:
        RunBusy: another process holds it.
        Damaged: the folder, or a file that a run writes there, is of another kind.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise Damaged(next(path for path in (folder, *folder.parents) if path.exists()), "it is no folder") from error
        self._file = opened(folder / files.LOCK)
        give_up = time.monotonic() + SECONDS_TO_LOOK
        while not is_taken(self._file):
            if time.monotonic() > give_up:
                os.close(self._file)
                raise RunBusy(f"{folder} is being written by another process")
            time.sleep(SECONDS_TO_LOOK / 10)
        try:
            check_kinds(folder)
        except Damaged:
            self.close()
            raise

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opened(path: Path) -> int:
    """Open a lock's file without waiting, whatever is there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if path.exists():
            check_kind(path)
        raise error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        check_kind(path)
    return descriptor


def is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_busy(folder: Path) -> bool:
    """Say whether a process writes the folder at this moment; nothing is made or written."""
    if not (folder / files.LOCK).is_file():
        return False
    descriptor = opened(folder / files.LOCK)
    try:
        return not is_taken(descriptor)
    finally:
        os.close(descriptor)


def check_kinds(folder: Path) -> None:
    """Refuse a folder in which a file of a run is no regular file, before hours are spent on a run that cannot be written."""
    for name in OF_A_RUN:
        if (folder / name).exists():
            check_kind(folder / name)
    if (folder / files.CHECKPOINTS).exists():
        check_kind(folder / files.CHECKPOINTS, stat.S_IFDIR)


def sweep(folder: Path, is_finished: bool) -> None:
    """Delete what killed processes left in a folder that is held: files half written and, of a finished run, all but its record."""
    for path in litter(folder, is_finished):
        files.delete(path)


def litter(folder: Path, is_finished: bool) -> list[Path]:
    """List what `sweep` deletes."""
    found = [path for place in (folder, folder / files.CHECKPOINTS) for path in place.glob(".*") if UNFINISHED.fullmatch(path.name)]
    of_unfinished = [folder / files.CHECKPOINTS, folder / files.ERROR] if is_finished else []
    return found + [path for path in of_unfinished if path.exists()]


def tidy(folder: Path) -> None:
    """Delete what a finished run that was killed at its end left behind, if no other process does."""
    if litter(folder, is_finished=True):
        try:
            with Lock(folder):
                sweep(folder, is_finished=True)
        except (RunBusy, Damaged, OSError):
            pass
