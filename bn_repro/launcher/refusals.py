"""Which overrides of a command line are mistakes, each by itself: its form, its name, its values."""

import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bn_repro.checks.arguments import JOBS_A_CORE
from bn_repro.checks.values import check_type, check_value, nearest, shown, told
from bn_repro.config.schemas import KNOBS, field_of
from bn_repro.launcher.grids import CONFIGS, MAIN_CONFIG, first_line, hydra_ready, is_group, knob_names, parsed, values_of

LONGEST_OVERRIDE = 10_000  # letters; the parser takes seconds for many more
MOST_RUNS = 5_000  # of one line
SECONDS_TO_MATCH = 0.5  # of the processor
LAUNCHER, LAUNCHER_KNOBS = "hydra/launcher", "hydra.launcher."
MADE_BY_OTHERS = {"name": "the name is made from the other overrides", "tier": "the tier is the experiment's, as in experiment=NAME/TIER"}


def refuse_letters(text: str) -> None:
    if len(text) > LONGEST_OVERRIDE:
        raise ValueError(f"{shown(text)} has {len(text):_} letters; at most {LONGEST_OVERRIDE:_} are read")
    if not text.isprintable():
        raise ValueError(f"{shown(text)} has letters that cannot be printed")


def refuse_forms(overrides: Sequence[Override], is_multirun: bool) -> None:
    """Refuse what Hydra accepts in silence: additions, deletions, empty values, repeats, a sweep over experiments."""
    seen = set()
    for override in overrides:
        name, text = override.key_or_group, shown(override.input_line)
        about = "" if name in KNOBS else nearest(name, KNOBS)
        if override.is_add() or override.is_force_add():
            raise ValueError(
                f"{text}: nothing can be added; leave the + out to change {shown(name)}{'' if name in KNOBS else nearest(name, KNOBS)}"
            )
        if override.is_delete():
            raise ValueError(f"{text}: nothing can be deleted; give {shown(name)} another value")
        if override.package is not None:
            raise ValueError(f"{text}: nothing can be put elsewhere; leave out @{shown(override.package)}")
        if isinstance(override.value(), str) and not override.value().strip():
            raise ValueError(f"{text}: {shown(name)} has no value{about}")
        if name in MADE_BY_OTHERS:
            raise ValueError(f"{text}: {MADE_BY_OTHERS[name]}; leave it out")
        if name in seen:
            raise ValueError(f"{text}: {shown(name)} is given twice")
        if override.is_sweep_override():
            refuse_sweep(override, is_multirun)
        seen.add(name)


def refuse_sweep(override: Override, is_multirun: bool) -> None:
    """Refuse a sweep that has no end, no value, a value twice, or runs that would be the same."""
    name, text, sweep = override.key_or_group, shown(override.input_line), override.value()
    if name == "experiment":
        raise ValueError(f"{text}: sweep one experiment at a time; the grids inside several would be ignored")
    if override.is_hydra_override():
        raise ValueError(f"{text}: there is one launcher of a sweep; give {name} one value")
    if not is_multirun:
        raise ValueError(f"{text}: several values need -m before them")
    if not isinstance(sweep, (RangeSweep, ChoiceSweep)) or any(isinstance(each, Sweep) for each in getattr(sweep, "list", ())):
        raise ValueError(f"{text}: values are swept one by one, as {name}=A,B")
    if isinstance(sweep, RangeSweep) and not 0 < length_of(sweep) <= MOST_RUNS:
        raise ValueError(f"{text} has {length_of(sweep):_.0f} values; a sweep has from 1 to {MOST_RUNS:_}")
    if name in KNOBS and not KNOBS[name].metadata["changes_result"]:
        raise ValueError(f"{text}: {name} changes no result, so that all these runs would be the same one; give it one value")
    values = values_of(override)
    twice = next((value for value in values if values.count(value) > 1), None) if len(values) <= MOST_RUNS else None
    if twice:
        raise ValueError(f"{text}: {shown(twice)} is given twice")


def length_of(sweep: RangeSweep) -> float:
    """Count the values of a range without making them; one that never ends has 0."""
    try:
        return max(0, math.ceil((sweep.stop - sweep.start) / sweep.step))
    except (ArithmeticError, ValueError):  # a step of 0, infinity, not a number
        return 0


def refuse_choice(override: Override) -> None:
    """Refuse a choice of a group of ours that there is not."""
    group, choices = override.key_or_group, choices_of(override.key_or_group)
    for value in values_of(override):
        choice = value.split("=", 1)[1]
        if choice not in choices:
            raise ValueError(f"{group}={shown(choice)} is not a choice{nearest(choice, choices)}; {told(choice, choices)}")


def choices_of(group: str) -> list[str]:
    """List the choices of a group of ours, or of Hydra's launchers."""
    if group != LAUNCHER:
        return sorted(str(path.relative_to(CONFIGS / group).with_suffix("")) for path in (CONFIGS / group).rglob("*.yaml"))
    with hydra_ready():
        return GlobalHydra.instance().config_loader().get_group_options(LAUNCHER, ObjectType.CONFIG)


def fields_among(override: Override, kinds: Sequence[DictConfig]) -> list[Field]:
    """Return the field of a knob in each of the kinds of runs that a line may mean, where it has one.

    Raises:
        ValueError: there is no such knob, or none in these kinds.
    """
    name, text = override.key_or_group, shown(override.input_line)
    found = {id(one): one for kind in kinds if (one := field_of(name, parts_of(kind)))}
    if found:
        return list(found.values())
    if name in KNOBS:
        raise ValueError(f"{text}: {described(kinds[0])} no knob {name}; others have")
    groups = [path.name for path in CONFIGS.iterdir() if is_group(path.name)]
    raise ValueError(f"{text}: there is no knob {shown(name)}{nearest(name, [*knob_names(kinds[0]), *groups])}")


def parts_of(kind: DictConfig) -> dict[str, type]:
    """Return the schema of each part of a composed run."""
    nodes = {str(name): kind._get_node(name) for name in kind}
    schemas = {name: OmegaConf.get_type(node) for name, node in nodes.items() if isinstance(node, DictConfig)}
    return {name: schema for name, schema in schemas.items() if schema is not None}


def described(kind: DictConfig) -> str:
    """Say which kind of runs have, or have not."""
    return f"data={kind.data.name} and network={kind.network.name} have" if "data" in kind else "runs of evolution have"


def refuse_values(override: Override, fields: Sequence[Field]) -> None:
    """Refuse a value that is none of its knob's, which has a field in each kind of run that the line may mean."""
    for value in parsed(values_of(override)):
        given = value.value()
        if isinstance(given, str) and "${" in given:
            continue  # what it stands for is checked when it is known
        refusals = []
        for one in fields:
            try:
                check_type(override.key_or_group, given, one.type)
                check_value(override.key_or_group, given, dict(one.metadata))
            except ValueError as error:
                refusals.append(error)
        if len(refusals) == len(fields):
            raise refusals[0]


@contextmanager
def in_time(text: str) -> Iterator[None]:
    """Refuse a pattern that takes seconds to match, as ((.+)+)+x does; it is the only knob whose check may."""

    def refuse(*_: Any) -> None:
        raise ValueError(f"{shown(text)} takes too long to be matched with the names of the parameters; make it simpler")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, refuse)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS_TO_MATCH)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def refuse_launcher(hydras: Sequence[Override]) -> None:
    """Refuse all of Hydra's own settings but the launcher of a sweep and its knobs."""
    for override in hydras:
        if not (override.key_or_group == LAUNCHER or override.key_or_group.startswith(LAUNCHER_KNOBS)):
            text = shown(override.input_line)
            raise ValueError(f"{text}: of Hydra's own settings this command line takes {LAUNCHER} and {LAUNCHER_KNOBS}KNOB alone")
    if not hydras:
        return
    chosen = [o for o in hydras if o.key_or_group == LAUNCHER]
    for override in chosen:
        refuse_choice(override)
    with hydra_ready():
        names = [LAUNCHER_KNOBS + str(name) for name in launcher_config(chosen)]
        for override in hydras:
            if override not in chosen and override.key_or_group not in names:
                text = shown(override.input_line)
                raise ValueError(f"{text}: there is no knob {shown(override.key_or_group)}{nearest(override.key_or_group, names)}")
        num_jobs = launcher_config(hydras).get("n_jobs", 1)
    most = JOBS_A_CORE * (os.cpu_count() or 1)
    if num_jobs != -1 and not 1 <= num_jobs <= most:
        raise ValueError(f"{LAUNCHER_KNOBS}n_jobs={num_jobs} is out of range; it must be -1, one run a core, or 1 to {most}")


def launcher_config(hydras: Sequence[Override]) -> DictConfig:
    try:
        return compose(MAIN_CONFIG, [o.input_line for o in hydras], return_hydra_config=True).hydra.launcher
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(first_line(error)) from error
