"""Published runs in few files: a plain zip of the run folders of an experiment and tier; a path may lead into it."""

import io
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

SUFFIX = ".zip"
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
        OSError: it is not there.
        zipfile.BadZipFile: the archive is damaged.
    """
    place = archive_and_name(path)
    if place is None:
        return path.read_bytes()
    archive, name = place
    if name not in opened(archive).NameToInfo:
        raise FileNotFoundError(f"{archive} has no {name}")
    return opened(archive).read(name)


def files_in(archive: Path) -> list[Path]:
    """List the paths of all files in an archive, in order of their names; none if there is no archive."""
    return sorted(archive / name for name in opened(archive).NameToInfo) if archive.is_file() else []


def archive_and_name(path: Path) -> tuple[Path, str] | None:
    """Split a path into the archive that it leads into and the name inside; None for one on the disk."""
    for parent in path.parents:
        if parent.suffix == SUFFIX and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def opened(archive: Path) -> zipfile.ZipFile:
    """Return an archive, read once for as long as it does not change."""
    state = archive.stat()
    return _read_whole(archive, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=NUM_OPEN)
def _read_whole(archive: Path, modified: int, size: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(archive.read_bytes()))
