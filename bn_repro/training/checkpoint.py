"""How a run survives a kill: atomic checksummed checkpoints, the last two kept, read without running any code."""

import hashlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import torch

from bn_repro.records.files import write_atomically

NUM_KEPT = 2
NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write tensors and plain values under a name that carries their checksum, then drop all but the last two.

    What says that it is of this step or a later one is dropped too: it is damaged, or of a course not taken.

    Raises:
        OSError: the disk is full; earlier checkpoints are untouched.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:09d}-{checksum(content)}.pt"
    write_atomically(path, content)
    others = [other for other in checkpoints(folder) if other != path]
    kept = [other for other in others if int(NAME.fullmatch(other.name)[1]) < step][-(NUM_KEPT - 1) :]
    for old in set(others) - set(kept):
        old.unlink()
    return path


def load_latest_checkpoint(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Return the newest whole checkpoint, or None; warn of each damaged one that is passed over.

    A file that holds anything but tensors and plain values is refused: loading never runs code.
    """
    for path in reversed(checkpoints(folder)):
        content = path.read_bytes()
        if checksum(content) != NAME.fullmatch(path.name)[2]:
            print(f"warning: {path} is damaged; falling back to the checkpoint before it", file=sys.stderr)
            continue
        return load_safely(content, path, device)
    return None


def load_safely(content: bytes, path: Path, device: torch.device) -> dict[str, Any]:
    """Unpickle tensors and plain values only.

    Raises:
        ValueError: the file asks for code to be run.
    """
    try:
        return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is refused: it is not a checkpoint of tensors and plain values") from error


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if NAME.fullmatch(path.name))


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
