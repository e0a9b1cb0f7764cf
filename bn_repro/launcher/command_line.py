"""What a training command line asks for, and every mistake in it, found before torch is loaded."""

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from bn_repro.checks.arguments import Parser
from bn_repro.checks.runs import too_many, without_effect
from bn_repro.checks.values import shown
from bn_repro.config import RunConfig
from bn_repro.launcher.grids import composed, config_of, is_group, parent_and_key, parsed, swept, values_of
from bn_repro.launcher.refusals import (
    MOST_RUNS,
    fields_among,
    in_time,
    refuse_choice,
    refuse_forms,
    refuse_launcher,
    refuse_letters,
    refuse_values,
)

DESCRIPTION = "Train one run, or with -m a grid."
Point = tuple[str, ...]  # the overrides of one run
Check = Callable[[RunConfig], None]


@dataclass
class Request:
    """What a command line asks for.

    Args:
        runs: the overrides of each run, and its config.
        refused: why further runs of the line's own sweep cannot be, one line each.
        launcher: overrides of Hydra's launcher; none for runs one after another in this process.
        shows: "help", "config" or "completion" instead of runs.
        words: what follows -sc.
    """

    runs: list[tuple[Point, RunConfig]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    launcher: list[str] = field(default_factory=list)
    shows: str = ""
    words: list[str] = field(default_factory=list)


def parser() -> Parser:
    made = Parser(description=DESCRIPTION, add_help=False)
    made.add_argument("-h", "--help", action="store_true", help="show this help: flags, groups and every knob")
    made.add_argument("-m", "--multirun", action="store_true", help="sweep: a knob may have several values, as norm=none,batch")
    made.add_argument("-c", "--cfg", metavar="job", help="show the config of the run instead of doing it")
    made.add_argument("-sc", "--shell-completion", action="store_true", help="with install=SHELL: print what turns tab completion on")
    made.add_argument("overrides", nargs="*", metavar="knob=value")
    return made


def read(arguments: Sequence[str], is_possible: Callable[[RunConfig], None] = lambda _: None) -> Request:
    """Find out what a command line asks for, before anything is loaded or written.

    Args:
        is_possible: raises ValueError for a run that this machine cannot do.

    Raises:
        ValueError: one line that names the mistake and the nearest valid choice.
    """
    flags = parser().parse_args(arguments)
    if flags.help:
        return Request(shows="help")
    if flags.shell_completion:
        return Request(shows="completion", words=flags.overrides)
    if flags.cfg not in (None, "job"):
        raise ValueError(f"--cfg {shown(flags.cfg)} is not a choice; choices: job")
    request = read_line(flags.overrides, flags.multirun, is_possible)
    request.shows = "config" if flags.cfg else ""
    return request


def refuse_mistakes(arguments: Sequence[str]) -> None:
    """Raise ValueError, one line, if anything of a command line is refused."""
    for refusal in read(arguments).refused:
        raise ValueError(refusal)


def read_line(texts: Sequence[str], is_multirun: bool, is_possible: Check) -> Request:
    """Do what `read` does for overrides alone."""
    for text in texts:
        refuse_letters(text)
    overrides = parsed(texts)
    refuse_forms(overrides, is_multirun)
    hydras = [o for o in overrides if o.is_hydra_override()]
    refuse_launcher(hydras)
    groups = [o for o in overrides if is_group(o.key_or_group)]
    knobs = [o for o in overrides if o not in hydras and o not in groups]
    for override in groups:
        refuse_choice(override)
    kinds = kinds_of(groups)
    for override in knobs:
        refuse_values(override, fields_among(override, kinds))
    launcher = [o.input_line for o in hydras]
    # What this machine lacks, a cluster may have.
    return request_of(groups, knobs, launcher, (lambda _: None) if any("slurm" in text for text in launcher) else is_possible)


def kinds_of(groups: Sequence[Override]) -> list[DictConfig]:
    """Compose a run of each kind, of runs, data and network, that a line chooses, of other groups with their first choices.

    Raises:
        ValueError: no choice can be composed.
    """
    choices = [values_of(o) if o.key_or_group in ("kind", "data", "network") else values_of(o)[:1] for o in groups]
    found, first_error = [], None
    for point in itertools.product(*choices):
        try:
            found.append(composed(point))
        except ValueError as error:
            first_error = first_error or error
    if first_error and not found:
        raise first_error
    return found


def request_of(groups: Sequence[Override], knobs: Sequence[Override], launcher: list[str], is_possible: Check) -> Request:
    """Spell out the line's grid and check every run of it.

    A run that cannot be is left out of a sweep that the line itself makes; else the line is refused.
    """
    values = own_grid(groups) | {o.key_or_group: values_of(o) for o in (*groups, *knobs)}
    number = math.prod(map(len, values.values()))
    if number > MOST_RUNS:
        raise ValueError(f"the line asks for {number:_} runs; at most {MOST_RUNS:_} are done at once")
    said = [o.key_or_group for o in knobs]
    goes_on = any(o.is_sweep_override() for o in (*groups, *knobs))
    pattern = next((o.input_line for o in knobs if o.key_or_group == "train.trainable"), "")
    request = Request(launcher=launcher)
    for point in itertools.product(*values.values()):
        try:
            with in_time(pattern) if pattern else nullcontext():
                config = config_of(point)
            refuse_too_much(config, point, said)
            is_possible(config)
        except ValueError as error:
            if not goes_on:
                raise
            request.refused.append(str(error))
        else:
            request.runs.append((point, config))
    if not request.runs:
        raise ValueError(request.refused[0])
    refuse_idle(request.runs, said)
    refuse_twins(request.runs)
    return request


def own_grid(groups: Sequence[Override]) -> dict[str, list[str]]:
    """Return the values of the chosen experiment's own grid, by knob; empty without an experiment."""
    chosen = [str(o.value()) for o in groups if o.key_or_group == "experiment"]
    grid = swept(chosen[0]) if chosen else {}
    return {o.key_or_group: values_of(o) for o in parsed([f"{name}={values}" for name, values in grid.items()])}


def refuse_too_much(config: RunConfig, point: Point, said: Sequence[str]) -> None:
    """Refuse what the line says and there is less of; a value that an experiment brings then means all there is."""
    for name, why in too_many(config):
        if name in said and is_changed(config, point, name):
            raise ValueError(f"{name}={shown(value_of(config, name))} {why}")


def refuse_idle(runs: Sequence[tuple[Point, RunConfig]], said: Sequence[str]) -> None:
    """Refuse a knob that changes none of the runs."""
    for name in said:
        reasons = [dict(without_effect(config)).get(name) for _, config in runs]
        if name.startswith("base.") and not any(f"${{{name}}}" in OmegaConf.to_yaml(composed(groups_of(point))) for point, _ in runs):
            reasons = ["without an arm that is a multiple of it, as arm=bn_x5"]
        if all(reasons) and any(is_changed(config, point, name) and value_of(config, name) is not None for point, config in runs):
            raise ValueError(f"{name}={shown(value_of(runs[0][1], name))} has no effect {reasons[0]}")


def refuse_twins(runs: Sequence[tuple[Point, RunConfig]]) -> None:
    names = [config.name for _, config in runs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two runs would be called {shown(name)}; give what they differ in once")


def groups_of(point: Point) -> Point:
    return tuple(override for override in point if is_group(override.split("=")[0]))


def value_of(config: RunConfig, name: str) -> Any:
    return reduce(getattr, name.split("."), config)


def is_changed(config: RunConfig, point: Point, name: str) -> bool:
    """Say whether the line gives a knob another value than the point's groups do."""
    before = composed(groups_of(point))
    return OmegaConf.is_missing(*parent_and_key(before, name)) or OmegaConf.select(before, name) != value_of(config, name)
