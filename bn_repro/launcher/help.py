"""What a training command line says of itself: its flags, its groups, every knob, and the config of a run."""

import dataclasses
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from typing import get_args

import yaml

from bn_repro.config import LARGEST_RATE, MOST, Config, NetworkConfig
from bn_repro.config.evolution import EvolutionConfig
from bn_repro.config.schemas import KINDS, knobs_of
from bn_repro.launcher.command_line import DESCRIPTION, Request, parser
from bn_repro.launcher.completion import completion
from bn_repro.launcher.grids import CONFIGS, experiments, is_group
from bn_repro.launcher.refusals import MADE_BY_OTHERS, choices_of
from bn_repro.records.record import address_of

WIDTH, NAME_WIDTH = 130, 30
TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text"}
BOUNDS = (("low", "from {:_}"), ("above", "above {:_}"), ("high", "to {:_}"), ("below", "below {:_}"))
SHARED = ("wandb",)  # parts that runs of all kinds have
TITLES = {"base": "base, of which the arms of section 4.2.1 are multiples"}
EXAMPLES = """\
  python scripts/train.py experiment=mnist_sigmoid/quick norm=batch seed=0      one run
  python scripts/train.py experiment=mnist_sigmoid/quick                        the experiment's own grid
  python scripts/train.py -m experiment=mnist_sigmoid/quick norm=none,layer train.lr=0.1,1 hydra/launcher=joblib
  eval "$(python scripts/train.py -sc install=bash)"                            tab completion; zsh and fish as well"""


def text_of(request: Request) -> str:
    """Return what a line asks for instead of runs.

    Raises:
        ValueError: one line.
    """
    if request.shows == "help":
        return help_text()
    if request.shows == "completion":
        return completion(request.words)
    _, config = request.runs[0]
    first = f", the first of {len(request.runs)} runs" if len(request.runs) > 1 else ""
    return f"# {address_of(config)}{first}\n{yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)}".rstrip()


def help_text() -> str:
    """Return the whole help: flags, groups with their choices, and of every knob its meaning, unit, range and choices."""
    flags = [(", ".join(action.option_strings), action.help or "") for action in parser()._actions if action.option_strings]
    groups = [(path.name, ", ".join(choices_of(path.name))) for path in sorted(CONFIGS.iterdir()) if is_group(path.name)]
    groups = [(name, ", ".join(experiments()) if name == "experiment" else choices) for name, choices in groups]
    groups += [("hydra/launcher", "basic (one run after another), joblib (on all cores), slurm; hydra.launcher.KNOB are its knobs")]
    parts = [f"{DESCRIPTION}\n\n{EXAMPLES}", section("flags", flags), section("groups: a file of configs/ for each choice", groups)]
    return "\n\n".join([*parts, *(section(title, rows) for title, rows in knob_sections())])


def knob_sections() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield (title, rows) of the knobs; of data and network those that all kinds have, then those of each kind."""
    parts = schemas_of_groups(Config)
    yield "knobs: of the whole run", rows_of("", {one.name: one for one in fields(Config) if one.name not in parts})
    for part, schema in parts.items():
        common = knobs_of(schema)
        yield f"knobs: {TITLES.get(part, part)}", rows_of(f"{part}.", common)
        for kind, own in KINDS.get(schema, {}).items():
            special = {name: one for name, one in knobs_of(own).items() if name not in common or one.metadata != common[name].metadata}
            yield f"knobs: {part}{'=' if schema is NetworkConfig else ' of '}{kind}", rows_of(f"{part}.", special)
    for part, schema in schemas_of_groups(EvolutionConfig).items():
        if part not in SHARED:
            yield f"knobs: {part} with kind=evolution", rows_of(f"{part}.", knobs_of(schema))


def schemas_of_groups(schema: type) -> dict[str, type]:
    """Return the schema of each group of knobs, by its name."""
    return {one.name: one.type for one in fields(schema) if isinstance(one.type, type) and is_dataclass(one.type)}


def rows_of(prefix: str, knobs: Mapping[str, Field]) -> list[tuple[str, str]]:
    return [(prefix + name, described(one)) for name, one in knobs.items() if prefix + name not in MADE_BY_OTHERS]


def described(one: Field) -> str:
    """Say what a knob means and what it may be."""
    kinds = get_args(one.type) if isinstance(one.type, types.UnionType) else (one.type,)
    what = [", ".join(one.metadata["choices"]) or TYPES.get(kinds[0], "[numbers]")]
    what += [f"of {one.metadata['unit']}"] if one.metadata["unit"] else []
    what += [words.format(one.metadata[bound]) for bound, words in BOUNDS if one.metadata[bound] not in (None, MOST, LARGEST_RATE)]
    what += ["or null"] if type(None) in kinds else []
    return f"{one.metadata['meaning']} ({' '.join(what)})"


def section(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [title]
    for name, text in rows:
        first = f"  {name:{NAME_WIDTH}}"
        lines += textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)
    return "\n".join(lines)
