"""Published runs in few files: a plain zip of the run folders of an experiment and tier; a path may lead into it."""

import io
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from bn_repro.records.damage import MAX_BYTES, MAX_BYTES_OF_OTHERS, Damaged, Missing, check_size, read_whole

SUFFIX = ".zip"
DEPTH = 4  # of a file inside: experiment, tier, name, file
DATE = (1980, 1, 1, 0, 0, 0)  # of every file inside, so that equal runs give equal bytes
PERMISSIONS = 0o100644 << 16
COMPRESSED_ALREADY = ".npz"
NUM_OPEN = 8  # archives kept in memory; a report reads one run after the other of each


def archived(content: Mapping[str, bytes]) -> bytes:
    """Return the zip that holds `{"<experiment>/<tier>/<name>/<file>": bytes}`, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system, entry.external_attr = 3, PERMISSIONS  # as Unix writes it, on any system
            method = zipfile.ZIP_STORED if name.endswith(COMPRESSED_ALREADY) else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content[name], method, compresslevel=9)
    return buffer.getvalue()


def exists(path: Path) -> bool:
    """Say whether there is a file of that path, on the disk or in an archive that the path leads into."""
    place = archive_and_name(path)
    return path.exists() if place is None else place[1] in opened(place[0]).NameToInfo


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
    if place[1] not in content.NameToInfo:
        raise Missing(path)
    check_size(path, content.NameToInfo[place[1]].file_size, MAX_BYTES.get(path.name, MAX_BYTES_OF_OTHERS))
    try:
        return content.read(place[1])
    except Exception as error:  # a bad sum, or what its decompressor raises
        raise Damaged(path, str(error) or type(error).__name__) from error


def state_of(path: Path) -> tuple[int, ...] | None:
    """Return what is another where a file, or the archive that it is in, has been written anew; None where there is none."""
    place = archive_and_name(path)
    try:
        state = (path if place is None else place[0]).stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


def files_in(archive: Path) -> list[Path]:
    """List the paths of all files of runs in an archive, in order of their names; none if there is no archive."""
    return sorted(archive / name for name in opened(archive).NameToInfo if is_of_a_run(name)) if archive.exists() else []


def is_of_a_run(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == DEPTH and not {"", ".", ".."} & set(parts)


def archive_and_name(path: Path) -> tuple[Path, str] | None:
    """Split a path into the archive that it leads into and the name inside; None for one on the disk."""
    for parent in path.parents:
        if parent.suffix == SUFFIX and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def opened(archive: Path) -> zipfile.ZipFile:
    """Return an archive, read once for as long as it does not change.

    Raises:
        Damaged: it is none.
    """
    return _opened(archive, state_of(archive))


@lru_cache(maxsize=NUM_OPEN)
def _opened(archive: Path, state: tuple[int, ...] | None) -> zipfile.ZipFile:
    content = read_whole(archive)
    try:
        found = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:
        raise Damaged(archive, str(error) or type(error).__name__) from error
    # Of a zip cut short, the last zip that is stored inside is found in its place, further back.
    if min((entry.header_offset for entry in found.infolist()), default=-1) or not any(map(is_of_a_run, found.NameToInfo)):
        raise Damaged(archive, "it does not begin with files of runs")
    return found
