"""How a knob is declared, walked and checked, and what was probably meant by one that does not exist."""

import difflib
import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import field, fields, is_dataclass
from typing import Any


def knob(
    meaning: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    changes_result: bool = True,
) -> Any:
    """Declare a field without default: low <= value <= high, above < value < below, or one of the choices."""
    bounds = {"low": low, "high": high, "above": above, "below": below}
    return field(metadata={"meaning": meaning, **bounds, "choices": choices, "changes_result": changes_result})


def check_value(name: str, value: Any, metadata: dict[str, Any]) -> None:
    """Refuse a value that is not a choice, out of range, or no finite number; None passes where the type allows it.

    Raises:
        ValueError: one line.
    """
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise ValueError(f"{name}={value} is not a choice{nearest(str(value), choices)}; choices: {', '.join(choices)}")
    bounds = (
        ("low", "at least", operator.ge),
        ("above", "above", operator.gt),
        ("high", "at most", operator.le),
        ("below", "below", operator.lt),
    )
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"{name}={number} is not a finite number")
        for bound, words, holds in bounds:
            limit = metadata.get(bound)
            if limit is not None and number is not None and not holds(number, limit):
                raise ValueError(f"{name}={number} is out of range; it must be {words} {limit}")


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield (dotted name, value, metadata) of every knob."""
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from walk(value, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, value, dict(one.metadata)


def differences(config: Any, recorded: dict[str, Any]) -> list[str]:
    """List the knobs that change results and differ from a record's flat `{dotted name: value}`.

    A knob that did not exist when the record was made is not compared.
    """
    return [
        f"{name}: {recorded[name]} recorded, {value} asked for"
        for name, value, metadata in walk(config)
        if metadata["changes_result"] and name in recorded and recorded[name] != value
    ]


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return '; did you mean X?' for the closest choice, else nothing. The last part of a dotted name counts as well."""
    choices = list(choices)
    by_last_part = {choice.split(".")[-1]: choice for choice in reversed(choices)}
    last = word.split(".")[-1]
    found = difflib.get_close_matches(word, choices, n=1, cutoff=0.75)
    found = found or [by_last_part[part] for part in difflib.get_close_matches(last, by_last_part, n=1, cutoff=0.6)]
    return f"; did you mean {found[0]}?" if found else ""
