"""By which knobs runs differ, and the runs of each setting of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bn_repro.checks.values import nearest
from bn_repro.config.schemas import KNOBS
from bn_repro.records.record import Run

BUNDLES = ("experiment", "tier", "arm")  # names of many values at once
WITHOUT_EFFECT = {name for name, knob in KNOBS.items() if not knob.metadata["changes_result"]}  # on a run's numbers


@dataclass(frozen=True)
class Setting:
    """Runs that agree in the knobs compared by.

    Args:
        values: of those knobs, in their order.
    """

    values: tuple[Any, ...]
    runs: tuple[Run, ...]


def differing_knobs(runs: Sequence[Run]) -> list[str]:
    """Return the knobs that change results, but for the seed, and in which runs differ.

    Of knobs that say the same only one is returned: `norm` for the arm that is named after it, and an arm, tier or experiment,
    alone or with the knobs that runs' names spell out, for what it sets by itself. A knob that a run's name spells out always is.
    """
    names = [name for name in dict.fromkeys(name for run in runs for name in run.config) if name not in WITHOUT_EFFECT | {"seed"}]
    differing = [name for name in names if differs(name, runs)]
    bundles = [name for name in BUNDLES if name in differing]
    if "arm" in bundles and all(run.config["arm"] == run.config.get("norm") for run in runs):
        bundles[bundles.index("arm")] = "norm"
    others = [name for name in differing if name not in (*BUNDLES, "norm")]
    spelled_out = [name for name in others if is_spelled_out(name, runs)]
    return bundles + [name for name in others if name in spelled_out or not is_determined(name, [*bundles, *spelled_out], runs)]


def identity(run: Run) -> tuple:
    """Return what two runs have in common that would end the same: where they stand aside, all knobs that change results, and the seed."""
    return tuple(sorted((name, repr(value)) for name, value in run.config.items() if name not in WITHOUT_EFFECT))


def differs(name: str, runs: Sequence[Run]) -> bool:
    return len({as_key(run.config.get(name)) for run in runs}) > 1


def is_spelled_out(name: str, runs: Sequence[Run]) -> bool:
    return any(f",{name}=" in run.name for run in runs)


def is_determined(name: str, by: Sequence[str], runs: Sequence[Run]) -> bool:
    """Say whether runs that agree in the knobs `by` agree in this one."""
    values: dict[tuple, Any] = {}
    return all(values.setdefault(key_of(run, by), as_key(run.config.get(name))) == as_key(run.config.get(name)) for run in runs)


def knobs_named(text: str, runs: Sequence[Run]) -> list[str]:
    """Return the full names of knobs given with commas between them, each whole or by its last part.

    Raises:
        ValueError: there is no such knob, or more than one ends so, and more than one of them or none differs.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.config))
    knobs = []
    for word in text.split(","):
        fitting = [name for name in known if name == word] or [name for name in known if name.split(".")[-1] == word]
        if len(fitting) > 1:
            fitting = [name for name in fitting if differs(name, runs)] or fitting
        if len(fitting) != 1:
            problem = f"may be {' or '.join(fitting)}" if fitting else f"is no knob of these runs{nearest(word, known)}"
            raise ValueError(f"--by {text}: {word} {problem}")
        knobs += fitting
    return knobs


def settings_of(runs: Sequence[Run], knobs: Sequence[str]) -> list[Setting]:
    """Group runs by their values of the knobs, in the order of the values."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(key_of(run, knobs), []).append(run)
    settings = [Setting(tuple(group[0].config.get(knob) for knob in knobs), tuple(group)) for group in groups.values()]
    return sorted(settings, key=lambda setting: [sorting_key(value) for value in setting.values])


def key_of(run: Run, knobs: Sequence[str]) -> tuple:
    return tuple(as_key(run.config.get(knob)) for knob in knobs)


def as_key(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def sorting_key(value: Any) -> tuple:
    """Order numbers by size, then words, then what is not set."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return 0, value, ""
    return (2, 0, "") if value is None else (1, 0, str(value))


def short_names(knobs: Sequence[str]) -> list[str]:
    """Shorten dotted names to their last part, where that tells them apart."""
    last = [knob.split(".")[-1] for knob in knobs]
    return [part if last.count(part) == 1 else knob for part, knob in zip(last, knobs)]


def in_words(setting: Setting, knobs: Sequence[str]) -> str:
    """Name a setting in a line: `norm batch, lr 0.1`."""
    return ", ".join(f"{name} {shown(value)}" for name, value in zip(short_names(knobs), setting.values)) or "all runs"


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else str(value)
