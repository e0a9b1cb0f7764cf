"""How a run survives a kill: atomic checksummed checkpoints, the last two kept, read without running any code."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bn_repro.records.damage import Damaged, read_whole
from bn_repro.records.extent import EXTENT_FIELDS, RECORD, checksum
from bn_repro.records.files import delete, write_atomically
from bn_repro.records.reading import with_fields

NUM_KEPT = 2
NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.pt")
MAX_BYTES = 2**30
MAX_BYTES_BESIDE = 64 * 2**20  # of what a checkpoint holds beside the network, its optimizer and the ranks' own parts
COPIES_OF_NETWORK = 16
Check = Callable[[Path, Any], Damaged | None]


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
    kept = [other for other in others if step_of(other) < step][-(NUM_KEPT - 1) :]
    for old in set(others) - set(kept):
        delete(old)
    return path


def load_latest_checkpoint(
    folder: Path, device: torch.device, max_bytes: int = MAX_BYTES, check: Check = lambda path, state: None
) -> dict[str, Any] | None:
    """Return the newest whole checkpoint that agrees with the record, or None; warn once of all that is passed over.

    A file that holds anything but tensors and plain values is refused: loading never runs code.

    Args:
        max_bytes: no larger file is read.
        check: called with (path, state); returns what on the disk does not agree with the state.

    Raises:
        Damaged: a file whose bytes are what was written holds no state, or `check` raised it.
    """
    passed_over: list[Damaged] = []
    for path in reversed(checkpoints(folder)):
        try:
            content = read_whole(path, max_bytes)
            if checksum(content) != parts_of_name(path)[1]:
                raise Damaged(path, "its content is not what was written")
        except Damaged as damage:
            passed_over.append(damage)
            continue
        state = load_safely(content, path, device)
        disagreement = check(path, state)
        if disagreement is None:
            warn_of(passed_over, f"going on from step {step_of(path)}")
            return state
        passed_over.append(disagreement)
    warn_of(passed_over, "starting again")
    return None


def warn_of(damages: list[Damaged], what_follows: str) -> None:
    reasons = {damage.path: f"{damage.path} is damaged ({damage.reason})" for damage in damages}
    if reasons:
        print(f"warning: {', '.join(reasons.values())}; {what_follows}", file=sys.stderr)


def load_safely(content: bytes, path: Path, device: torch.device) -> Any:
    """Unpickle tensors and plain values only.

    Raises:
        Damaged: the file asks for code to be run.
    """
    try:
        return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:
        raise Damaged(path, "it is refused: it is not a checkpoint of tensors and plain values") from error


def max_bytes_of(network: nn.Module) -> int:
    """Return more than a checkpoint of a network can have."""
    return COPIES_OF_NETWORK * sum(tensor.nbytes for tensor in network.state_dict().values()) + MAX_BYTES_BESIDE


def check_fits(path: Path, state: Any, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Compare a state with the network and the optimizer that it is for.

    Raises:
        Damaged: it is of another kind, or has other names or shapes.
    """
    try:
        reason = misfit(state, step_of(path), network, optimizer)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        reason = f"it is no state of a training ({type(error).__name__}: {error})"
    if reason:
        raise Damaged(path, reason)


def misfit(state: dict[str, Any], step: int, network: nn.Module, optimizer: torch.optim.Optimizer) -> str | None:
    """Return in words what does not fit."""
    if type(state["step"]) is not int or state["step"] != step:
        return f"it says that it is of step {state['step']}"
    if RECORD in state:
        with_fields(state[RECORD], EXTENT_FIELDS)
    expected, parts = network.state_dict(), state.get("ranks", [])
    if state["network"].keys() != expected.keys():
        return f"it is of another network, without {min(expected.keys() ^ state['network'].keys())} on one side"
    for tensors in (state["network"], *(part["buffers"] for part in parts)):
        for name, found in tensors.items():
            if not is_like(found, expected[name]):
                return f"it is of another network, whose {name} is {described(found)} in place of {described(expected[name])}"
    for part in (state, *parts):
        if part["losses"].ndim != 1 or not is_like(part["rng"], torch.get_rng_state()):
            return "it has no losses or no state of random numbers"
    return misfit_of_optimizer(state["optimizer"], optimizer)


def misfit_of_optimizer(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> str | None:
    own = optimizer.state_dict()["param_groups"]
    for group, found in zip(own, state["param_groups"], strict=True):
        numbers = {name for name, value in group.items() if type(value) in (int, float)}
        if group["params"] != found["params"] or any(type(found[name]) not in (int, float) for name in numbers):
            return "it is of another optimizer"
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, buffers in state["state"].items():
        for name, found in buffers.items():
            if isinstance(found, Tensor) and found.shape not in (torch.Size(), parameters[number].shape):
                return f"its optimizer's {name} is {described(found)} in place of {described(parameters[number])}"
    return None


def is_like(one: Any, other: Tensor) -> bool:
    return isinstance(one, Tensor) and one.shape == other.shape and one.dtype == other.dtype


def described(value: Any) -> str:
    return f"{tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def step_of(path: Path) -> int:
    return int(parts_of_name(path)[0])


def parts_of_name(path: Path) -> tuple[str, str]:
    """Return the step and the checksum in a checkpoint's name."""
    match = NAME.fullmatch(path.name)
    assert match is not None, path
    return match[1], match[2]


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if NAME.fullmatch(path.name))
