"""Which values a knob takes, and what to say of one that it does not: one line with the nearest valid choice."""

import difflib
import math
import operator
import os
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

LINE = 140  # letters of a list of choices that is told whole
LONGEST_SHOWN = 60  # letters of what was typed that an answer repeats
LONGEST_NAME = 255  # bytes of a file's or folder's name
LONGEST_PATH = 3_500  # bytes of a folder with all that it lies in; the system's limit is 4096, and runs lie below
BOUNDS = (
    ("low", "at least", operator.ge),
    ("above", "above", operator.gt),
    ("high", "at most", operator.le),
    ("below", "below", operator.lt),
)
MADE_BY_THE_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev")))  # folders in which no file can be kept
SHARED_MEMORY = Path("/dev/shm")
LONGEST_WANDB_NAME, NOT_IN_WANDB_NAMES = 128, set(r"/\#?%:")  # W&B's rules


def check_value(name: str, value: Any, metadata: dict[str, Any]) -> None:
    """Refuse a value that is not a choice, out of range, or no finite number; None passes where the type allows it.

    Raises:
        ValueError: one line.
    """
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise ValueError(f"{name}={shown(value)} is not a choice{nearest(str(value), choices)}; {told(str(value), choices)}")
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"{name}={number} is not a finite number")
        for bound, words, holds in BOUNDS:
            limit = metadata.get(bound)
            if limit is not None and number is not None and not holds(number, limit):
                raise ValueError(f"{name}={shown(number)} is out of range; it must be {words} {limit:_}")


def check_type(name: str, value: Any, kind: Any) -> None:
    """Refuse what OmegaConf would turn into another type in silence: 2 into true, full-width digits into a number.

    Raises:
        ValueError: one line.
    """
    kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None:
        if type(None) not in kinds:
            raise ValueError(f"{name}=null: {name} needs a value")
        return
    (kind,) = (each for each in kinds if each is not type(None))
    if kind is bool:
        reason = "" if isinstance(value, bool) else "is neither true nor false"
    elif kind is int:
        reason = "" if type(value) is int else "is not a whole number"
    elif kind is float:
        reason = "" if is_number(value) else "is not a number"
    elif kind is str:
        reason = "" if type(value) in (str, int, float) else "is not text"
    else:
        reason = "" if isinstance(value, list) and all(map(is_number, value)) else "is not a list of numbers"
    if reason:
        raise ValueError(f"{name}={shown(value)} {reason}")


def is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= sys.float_info.max)


def check_text(name: str, text: str) -> None:
    """Refuse text that a file's name, a W&B name or a terminal could not hold.

    Raises:
        ValueError: one line.
    """
    if not text.strip():
        raise ValueError(f"{name} is empty; give it a value")
    if not text.isprintable():
        raise ValueError(f"{name}={shown(text)} has letters that cannot be printed")


def check_wandb_name(name: str, text: str) -> None:
    """Refuse what W&B takes for no project, user or team.

    Raises:
        ValueError: one line.
    """
    check_text(name, text)
    if len(text) > LONGEST_WANDB_NAME or NOT_IN_WANDB_NAMES & set(text):
        raise ValueError(f"{name}={shown(text)} is no W&B name: at most {LONGEST_WANDB_NAME} letters, none of / \\ # ? % :")


def check_folder(name: str, text: str, is_written: bool = True) -> None:
    """Refuse what cannot be a folder here; nothing is made.

    Raises:
        ValueError: one line.
    """
    check_text(name, text)
    if text.startswith("~"):
        raise ValueError(f"{name}={shown(text)}: ~ stands for nothing here; write the folder out")
    path = Path(os.path.abspath(text))
    longest, whole = max(len(os.fsencode(part)) for part in path.parts), len(os.fsencode(path))
    if longest > LONGEST_NAME or whole > LONGEST_PATH:
        limit, length = (LONGEST_NAME, longest) if longest > LONGEST_NAME else (LONGEST_PATH, whole)
        raise ValueError(f"{name}={shown(text)} is longer than a folder's name may be: {length} bytes, at most {limit}")
    try:
        there = next(parent for parent in (path, *path.parents) if os.path.lexists(parent)).resolve()
    except (OSError, RuntimeError) as error:  # a circle of links
        raise ValueError(f"{name}={shown(text)} cannot be a folder: {error}") from error
    if not there.is_dir():
        raise ValueError(f"{name}={shown(text)} cannot be a folder: {there} is none")
    is_made = any(there.is_relative_to(folder) for folder in MADE_BY_THE_SYSTEM) and not there.is_relative_to(SHARED_MEMORY)
    if is_made or (not os.access(there, os.W_OK | os.X_OK) and (is_written or not path.is_dir())):
        raise ValueError(f"{name}={shown(text)} cannot be a folder: {there} cannot be written to")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return '; did you mean X?' for the closest choice, else nothing. The last part of a dotted name counts as well."""
    choices = list(choices)
    word = word.lower()
    by_last_part = {choice.split(".")[-1]: choice for choice in reversed(choices) if "." in choice}
    last = word.split(".")[-1]
    found = difflib.get_close_matches(word, choices, n=1, cutoff=0.75)
    found = found or [by_last_part[part] for part in difflib.get_close_matches(last, by_last_part, n=1, cutoff=0.6)]
    return f"; did you mean {found[0]}?" if found else ""


def told(word: str, choices: Iterable[str]) -> str:
    """Return 'choices: a, b, c', or, where that is longer than a line, the nearest three and how many more there are."""
    choices = list(choices)
    whole = ", ".join(choices)
    if len(whole) <= LINE:
        return f"choices: {whole}"
    near = difflib.get_close_matches(word.lower(), choices, n=3, cutoff=0.0)
    return f"choices: {', '.join(near)} and {len(choices) - len(near)} more"


def shown(value: Any) -> str:
    """Return what was typed as it fits into one line: the middle of long text is left out, and what cannot be printed escaped."""
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    text = text if text and text.isprintable() else ascii(text)
    half = LONGEST_SHOWN // 2
    return text if len(text) <= LONGEST_SHOWN else f"{text[:half]}...{text[-half:]}"
