"""What is wrong with a file, and how one is read without trusting it: its kind first, then its size, then its bytes."""

import stat
from pathlib import Path

from bn_repro.records import files

MEBIBYTE = 2**20
MAX_BYTES = {
    files.CONFIG: MEBIBYTE,
    files.ENVIRONMENT: MEBIBYTE,
    files.SUMMARY: MEBIBYTE,
    files.CLAIMS: 16 * MEBIBYTE,
    files.CORRECT: 64 * MEBIBYTE,
    files.PREDICTIONS: 256 * MEBIBYTE,
    files.METRICS: 256 * MEBIBYTE,
}
MAX_BYTES_OF_OTHERS = 1024 * MEBIBYTE
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Damaged(ValueError):
    """A file is not what was written there."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} is damaged ({self.reason}); delete it or the folder"


class Missing(Damaged):
    """A file that a record counts is not there."""

    def __init__(self, path: Path, reason: str = "it is missing"):
        super().__init__(path, reason)

    def __str__(self) -> str:
        return f"{self.path} is missing; the run has to be done again"


def read_whole(path: Path, max_bytes: int | None = None) -> bytes:
    """Return a file's bytes; nothing is read of what is no regular file, or larger than a file of that name can be.

    Raises:
        Missing: it is not there.
        Damaged: it is of another kind, too large, or cannot be read.
    """
    limit = max_bytes or MAX_BYTES.get(path.name, MAX_BYTES_OF_OTHERS)
    try:
        check_kind(path)
        check_size(path, path.stat().st_size, limit)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise Missing(path) from error
    except OSError as error:
        raise Damaged(path, error.strerror or type(error).__name__) from error


def check_kind(path: Path, expected: int = stat.S_IFREG) -> None:
    """Refuse what is there and is of another kind than a regular file, or a folder if that is expected."""
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != expected:
        raise Damaged(path, f"it is {KINDS.get(kind, 'a file')}")


def check_size(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise Damaged(path, f"it has {size:,} bytes, where at most {limit:,} can be")
