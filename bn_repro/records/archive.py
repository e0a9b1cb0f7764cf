"""Published runs in few small files: a plain tar.xz of the run folders of an experiment and tier; a path may lead into it.

Files of one name stand together, so that hundreds of runs whose configs and machines are alike take little more than one.
"""

import io
import lzma
import tarfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bn_repro.records.damage import MAX_BYTES, MAX_BYTES_OF_OTHERS, Damaged, Missing, check_size, read_whole

SUFFIX = ".tar.xz"
DEPTH = 4  # of a file inside: experiment, tier, name, file
PRESET = 6  # of xz: how hard it tries, written down so that equal runs give equal bytes
MAX_UNPACKED, MAX_MEMORY = 2 * 2**30, 2**28  # bytes: of what comes out, and of what unpacking itself may take
NUM_OPEN = 64  # archives kept in memory, all of a tier: those of `long` unpack to 63 MB


def archived(content: Mapping[str, bytes]) -> bytes:
    """Return the tar.xz that holds `{"<experiment>/<tier>/<name>/<file>": bytes}`, the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(content, key=lambda name: (name.rpartition("/")[2], name)):
            entry = tarfile.TarInfo(name)  # of no user and no date
            entry.size = len(content[name])
            archive.addfile(entry, io.BytesIO(content[name]))
    return lzma.compress(buffer.getvalue(), preset=PRESET)


def exists(path: Path) -> bool:
    """Say whether there is a file of that path, on the disk or in an archive that the path leads into."""
    place = archive_and_name(path)
    return path.exists() if place is None else place[1] in opened(place[0])


def read(path: Path) -> bytes:
    """Return a file's bytes, from the disk or from an archive that the path leads into.

    Raises:
        Missing: it is not there.
        Damaged: it, or the archive, cannot be read.
    """
    place = archive_and_name(path)
    if place is None:
        return read_whole(path)
    content = opened(place[0])
    if place[1] not in content:
        raise Missing(path)
    check_size(path, len(content[place[1]]), MAX_BYTES.get(path.name, MAX_BYTES_OF_OTHERS))
    return content[place[1]]


def state_of(path: Path) -> tuple[int, ...] | None:
    """Return what is another where a file, or the archive that it is in, has been written anew; None where there is none."""
    place = archive_and_name(path)
    try:
        state = (path if place is None else place[0]).stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


def state_of_folder(folder: Path, names: Sequence[str]) -> tuple[Any, ...]:
    """Return what is another where one of a folder's files, or the archive that the folder is in, has been written anew."""
    place = archive_and_name(folder)
    return tuple(state_of(folder / name) for name in names) if place is None else (state_of(place[0]),)


def files_in(archive: Path) -> list[Path]:
    """List the paths of all files of runs in an archive, in order of their names; none if there is no archive."""
    return sorted(archive / name for name in opened(archive)) if archive.exists() else []


def is_of_a_run(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == DEPTH and not {"", ".", ".."} & set(parts)


def archive_and_name(path: Path) -> tuple[Path, str] | None:
    """Split a path into the archive that it leads into and the name inside; None for one on the disk."""
    text, end = path.as_posix(), 0
    while end := text.find(f"{SUFFIX}/", end) + 1:
        end += len(SUFFIX)
        parent = Path(text[: end - 1])
        if parent.is_file():
            return parent, text[end:]
    return None


def opened(archive: Path) -> Mapping[str, bytes]:
    """Return the files of runs in an archive by name, read once for as long as it does not change.

    Raises:
        Damaged: it is none.
    """
    return _opened(archive, state_of(archive))


@lru_cache(maxsize=NUM_OPEN)
def _opened(archive: Path, state: tuple[int, ...] | None) -> Mapping[str, bytes]:
    content = read_whole(archive)
    try:
        found = files_of_runs(decompressed(content))
    except Exception as error:
        raise Damaged(archive, str(error) or type(error).__name__) from error
    if not found:
        raise Damaged(archive, "it holds no files of runs")
    return found


def decompressed(content: bytes) -> bytes:
    """Return what an xz file holds; its end has a sum of all of it, so that no changed bit goes unseen.

    Raises:
        Exception: of one kind or another, where the bytes are not such a file, or would be more than `MAX_UNPACKED`.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY)
    unpacked = decompressor.decompress(content, MAX_UNPACKED)
    if not decompressor.eof:
        raise ValueError("it is cut short" if decompressor.needs_input else f"it unpacks to more than {MAX_UNPACKED:,} bytes")
    if decompressor.unused_data:
        raise ValueError("something stands behind its end")
    return unpacked


def files_of_runs(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        entries = [entry for entry in archive if entry.isfile() and is_of_a_run(entry.name)]
        return {entry.name: archive.extractfile(entry).read() for entry in entries}  # type: ignore[union-attr]
