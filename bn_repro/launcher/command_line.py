"""What a command line asks for, and every mistake in it, found before torch is loaded."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from hydra import compose
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bn_repro.config import nearest
from bn_repro.launcher.grids import (
    CONFIGS,
    MAIN_CONFIG,
    SCHEMAS,
    first_line,
    hydra_ready,
    knob_names,
    parsed,
    swept,
    to_config,
    values_of,
)

MOST_POINTS = 12  # of a grid that is checked whole; each takes some 30 ms


def refuse_mistakes(arguments: Sequence[str]) -> None:
    """Check a training command line before anything is loaded or written.

    Raises:
        ValueError: one line that names the mistake and the nearest valid choice.
    """
    flags, unknown = get_args_parser().parse_known_args(list(arguments))
    if unknown:
        raise ValueError(f"{unknown[0]}: there is no such flag; --help lists them")
    if flags.help or flags.hydra_help or flags.cfg or flags.info:
        return
    overrides = parsed(flags.overrides)
    refuse_forms(overrides, flags.multirun)
    with hydra_ready():
        # Hydra's own groups have choices of plugins, too; composing checks them.
        is_group = {o.key_or_group: (CONFIGS / o.key_or_group).is_dir() and not o.key_or_group.startswith("hydra/") for o in overrides}
        for override in overrides:
            if is_group[override.key_or_group]:
                refuse_choice(override)
        groups = [values_of(o)[0] for o in overrides if is_group[o.key_or_group]]
        names = knob_names(compose_or_explain(groups))
        for override in overrides:
            name = override.key_or_group
            if not (is_group[name] or name in names or name.startswith(("hydra.", "hydra/"))):
                raise ValueError(f"{override.input_line}: there is no knob {name}{nearest(name, [*names, *group_names()])}")
        knobs = [o for o in overrides if not o.key_or_group.startswith(("hydra.", "hydra/"))]
        hydras = [o.input_line for o in overrides if o not in knobs]
        for point in points_to_check({**own_grid(overrides), **{o.key_or_group: values_of(o) for o in knobs}}):
            to_config(compose_or_explain([*point, *hydras]))


def refuse_forms(overrides: Sequence[Override], is_multirun: bool) -> None:
    """Refuse what Hydra accepts in silence: additions, deletions, empty values, repeats, a sweep over experiments."""
    seen = set()
    for override in overrides:
        name, text = override.key_or_group, override.input_line
        if override.is_add() or override.is_force_add():
            raise ValueError(f"{text}: nothing can be added; leave the + out to change {name}{nearest(name, knob_names_of_schema())}")
        if override.is_delete():
            raise ValueError(f"{text}: nothing can be deleted; give {name} another value")
        if override.value() in ("", None) and text.endswith("="):
            raise ValueError(f"{text}: {name} has no value{nearest(name, knob_names_of_schema())}")
        if name == "name":
            raise ValueError(f"{text}: the name is made from the other overrides; leave it out")
        if name in seen:
            raise ValueError(f"{text}: {name} is given twice")
        if name == "experiment" and override.is_sweep_override():
            raise ValueError(f"{text}: sweep one experiment at a time; the grids inside several would be ignored")
        if override.is_sweep_override() and not is_multirun and name.split("/")[0].split(".")[0] != "hydra":
            raise ValueError(f"{text}: several values need -m before them")
        seen.add(name)


def refuse_choice(override: Override) -> None:
    group = override.key_or_group
    choices = sorted(str(path.relative_to(CONFIGS / group).with_suffix("")) for path in (CONFIGS / group).rglob("*.yaml"))
    for value in values_of(override):
        choice = value.split("=", 1)[1]
        if choice not in choices:
            raise ValueError(f"{group}={choice} is not a choice{nearest(choice, choices)}; choices: {', '.join(choices)}")


def own_grid(overrides: Sequence[Override]) -> dict[str, list[str]]:
    """Return the values of the chosen experiment's own grid, by knob; empty without an experiment."""
    chosen = [values_of(o)[0].split("=", 1)[1] for o in overrides if o.key_or_group == "experiment"]
    return (
        {o.key_or_group: values_of(o) for o in parsed([f"{name}={values}" for name, values in swept(chosen[0]).items()])} if chosen else {}
    )


def points_to_check(values: dict[str, list[str]]) -> list[tuple[str, ...]]:
    """Return all points of a small grid; of a large one, every value beside the first values of the others."""
    if math.prod(map(len, values.values())) <= MOST_POINTS:
        return list(itertools.product(*values.values()))
    firsts = {name: options[0] for name, options in values.items()}
    return [tuple({**firsts, name: value}.values()) for name, options in values.items() for value in options]


def compose_or_explain(overrides: list[str]) -> DictConfig:
    try:
        return compose(MAIN_CONFIG, overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        cause: Any = error.__cause__ or error
        raise ValueError(f"{first_line(error)} ({first_line(cause)})" if cause is not error else first_line(error)) from error


def knob_names_of_schema() -> list[str]:
    """Name the knobs of all kinds of runs."""
    return list(dict.fromkeys(name for schema in SCHEMAS for name in names_in(schema)))


def names_in(schema: type, prefix: str = "") -> list[str]:
    names: list[str] = []
    for one in fields(schema):
        names += names_in(one.type, f"{prefix}{one.name}.") if is_dataclass(one.type) else [prefix + one.name]
    return names


def group_names() -> list[str]:
    return [path.name for path in CONFIGS.iterdir() if path.is_dir()]
