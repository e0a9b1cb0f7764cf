"""What `compare` does on a command line: find the runs, print the table, write the figure and the CSV."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bn_repro.comparison.runs import find_all, whole_ones
from bn_repro.comparison.settings import differing_knobs, knobs_named, settings_of
from bn_repro.records import files
from bn_repro.records.record import Run

FORMATS = (".svg", ".png", ".pdf")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="compare", description="Compare any runs: a table with intervals, a figure and a CSV.")
    parser.add_argument("runs", nargs="+", metavar="RUNS", help=f"addresses, folders or globs, here or under {files.RUNS}")
    parser.add_argument("--by", metavar="KNOBS", help="compare by these, commas between them (default: all that differ but the seed)")
    parser.add_argument("--metric", default="accuracy", help="a number of the summaries or a column of the metrics (default: accuracy)")
    beside = f"default: {files.COMPARISON}; the CSV is beside it"
    parser.add_argument("--figure", type=Path, default=files.COMPARISON, metavar="FILE", help=beside)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.figure.suffix not in FORMATS:
            raise ValueError(f"--figure {chosen.figure}: its name must end in {', '.join(FORMATS)}")
        runs = find_all(*chosen.runs)
        complete = whole_ones(runs)
        if not complete:
            raise ValueError(f"none of the {len(runs)} runs is complete yet")
        compare(complete, len(runs) - len(complete), chosen.by, chosen.metric, chosen.figure)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


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
