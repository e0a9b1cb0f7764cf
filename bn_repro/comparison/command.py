"""What `compare` does on a command line: find the runs, print the table, write the figure and the CSV."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bn_repro.checks.arguments import MISTAKE, Parser, exit_code_of, one_line, words
from bn_repro.checks.values import check_folder, shown
from bn_repro.comparison.runs import each_once, find_all, whole_ones
from bn_repro.comparison.settings import differing_knobs, knobs_named, settings_of
from bn_repro.records import files
from bn_repro.records.record import Run

FORMATS = (".svg", ".png", ".pdf")


@dataclass(frozen=True)
class Request:
    """What is to be compared, and how."""

    runs: Sequence[Run]  # complete ones
    num_left_out: int
    by: str | None
    metric: str
    figure: Path


def parse(arguments: Sequence[str] | None = None) -> Request:
    """Read the command line and find the runs.

    Raises:
        ValueError: one line that names the mistake.
    """
    parser = Parser(prog="compare", description="Compare any runs: a table with intervals, a figure and a CSV.")
    parser.add_argument("runs", nargs="+", metavar="RUNS", help=f"addresses, folders or globs, here or under {files.RUNS}")
    by = "compare by these, commas between them (default: all that differ but the seed)"
    parser.add_argument("--by", type=words, metavar="KNOBS", help=by)
    metric = "a number of the summaries or a column of the metrics (default: accuracy)"
    parser.add_argument("--metric", type=words, default="accuracy", help=metric)
    beside = f"default: {files.COMPARISON}; the CSV is beside it"
    parser.add_argument("--figure", type=words, default=str(files.COMPARISON), metavar="FILE", help=beside)
    chosen = parser.parse_args(arguments)
    path = Path(chosen.figure)
    if path.suffix not in FORMATS:
        raise ValueError(f"--figure {shown(path)}: its name must end in {', '.join(FORMATS)}")
    check_folder("the folder of --figure", str(path.parent))
    for target in (path, path.with_suffix(".csv")):
        if target.is_dir():
            raise ValueError(f"--figure {shown(path)}: {shown(target)} is a folder")
    runs = find_all(*chosen.runs)
    complete = each_once(whole_ones(runs))
    if not complete:
        raise ValueError(f"none of the {len(runs)} runs is complete yet")
    if chosen.by:
        knobs_named(chosen.by, complete)
    return Request(complete, sum(not run.has_summary for run in runs), chosen.by, chosen.metric, path)


def act(request: Request) -> int:
    try:
        compare(request.runs, request.num_left_out, request.by, request.metric, request.figure)
    except ValueError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return MISTAKE
    return 0


def main(arguments: Sequence[str]) -> int:
    """Do what the command does, and return its exit code."""
    return exit_code_of(partial(parse, arguments), act)


def compare(runs: Sequence[Run], num_left_out: int, by: str | None, metric: str, path: Path) -> None:
    """Print the table of complete runs, and write the figure to `path` and the CSV beside it.

    Raises:
        ValueError: there is no such knob or metric.
    """
    from bn_repro.comparison import figure, numbers
    from bn_repro.figures.style import as_png, as_svg

    differing = differing_knobs(runs)
    knobs = knobs_named(by, runs) if by else differing
    numbers.check_metric(metric, runs)
    lines = [numbers.line_of(setting, metric) for setting in settings_of(runs, knobs)]
    pooled = [knob for knob in differing if knob not in knobs] if by else []
    notes = [f", pooled over {', '.join(pooled)}"] if pooled else []
    notes += [f"; {num_left_out} more not complete"] if num_left_out else []
    print(f"{len(runs)} runs by {', '.join(knobs) or 'nothing but the seed'}{''.join(notes)}")
    print(numbers.table(lines, knobs, metric))
    drawn = figure.draw(lines, knobs, metric)
    if path.suffix == ".pdf":
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path)
    else:
        files.write_atomically(path, as_svg(drawn, path.stem) if path.suffix == ".svg" else as_png(drawn))
    files.write_atomically(path.with_suffix(".csv"), numbers.as_csv(lines, knobs, metric).encode())
    print(f"figure: {path}, table: {path.with_suffix('.csv')}")
