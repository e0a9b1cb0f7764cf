"""What is compared: for each setting a metric's mean with its interval, where it was best, and how long a run took."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bn_repro.checks.values import nearest
from bn_repro.comparison.runs import summary_of
from bn_repro.comparison.settings import Setting, short_names, shown
from bn_repro.records.record import DIVERGED, Run
from bn_repro.verdicts.statistics import Mean

LESS_IS_BETTER = ("loss", "error", "seconds", "norm", "shift", "relative", "step")  # in the last part of a metric's name
SHARES = "accuracy"  # are fractions, shown in percent


@dataclass(frozen=True)
class Line:
    """One setting's numbers.

    Args:
        mean, low, high: of the metric, over `n` runs, with Student's 95 % interval; nan where there is no number.
        best_step: where the metric's curve is best, the mean over runs; None where there is no curve.
        seconds: of a run, the mean.
    """

    setting: Setting
    mean: float
    low: float
    high: float
    n: int
    num_diverged: int
    best_step: float | None
    seconds: float


def line_of(setting: Setting, metric: str) -> Line:
    values = [value for run in setting.runs if (value := final_value(run, metric)) is not None]
    mean = Mean(values) if values else None
    end = 1.0 if SHARES in metric else math.inf  # no accuracy is above 1 or below 0
    steps = [step for run in setting.runs if (step := best_step(run, metric)) is not None]
    return Line(
        setting,
        *((mean.value, bounded(mean.low, end), bounded(mean.high, end)) if mean else (math.nan, math.nan, math.nan)),
        n=len(values),
        num_diverged=sum(run.summary.get("status") == DIVERGED for run in setting.runs),
        best_step=float(np.mean(steps)) if steps else None,
        seconds=float(np.mean([run.summary.get("seconds", math.nan) for run in setting.runs])),
    )


def bounded(limit: float, end: float) -> float:
    """Keep a finite limit of an interval where the metric can be: of a share in [0, 1]."""
    return min(max(limit, 0.0), end) if math.isfinite(limit) and math.isfinite(end) else limit


def final_value(run: Run, metric: str) -> float | None:
    """Return the summary's number or, of a metric that is only in the rows, the last one; None where there is none.

    A diverged run ends without a number of its rows: those before it diverged are not where it ended.
    """
    value = summary_of(run).get(metric)
    if value is None and run.summary.get("status") != DIVERGED:
        _, values = run.column(metric)
        value = values[-1] if len(values) else None
    return float(value) if isinstance(value, (int, float)) else None


def best_step(run: Run, metric: str) -> float | None:
    steps, values = run.column(metric)
    if not len(values):
        return None
    return float(steps[(np.argmin if is_less_better(metric) else np.argmax)(values)])


def is_less_better(metric: str) -> bool:
    return any(word in metric.split("/")[-1] for word in LESS_IS_BETTER)


def check_metric(metric: str, runs: Sequence[Run]) -> None:
    """Refuse a metric that no run has.

    Raises:
        ValueError: one line with the nearest one.
    """
    in_summaries = [name for run in runs for name, value in summary_of(run).items() if isinstance(value, (int, float))]
    known = list(dict.fromkeys([*in_summaries, *(name for run in runs for row in run.metrics[:1] for name in row if name != "step")]))
    if all(final_value(run, metric) is None for run in runs):
        what = "no run ends with a number of it" if metric in known else f"no run has it{nearest(metric, known)}"
        raise ValueError(f"--metric {metric}: {what}; choices: {', '.join(name for name in known if name != metric)}")


def table(lines: Sequence[Line], knobs: Sequence[str], metric: str) -> str:
    """Return lines of text in columns: the knobs, the metric with its interval, n, the best step, the time of a run."""
    header = [*short_names(knobs), f"{metric} [95 %]", "n", "best step", "time"]
    rows = [header]
    for line in lines:
        rows.append([*map(shown, line.setting.values), with_interval(line, metric), counted(line), step_of(line), clock(line)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def with_interval(line: Line, metric: str) -> str:
    factor, unit, digits = (100, " %", ".2f") if SHARES in metric else (1, "", ".4g")
    if math.isnan(line.mean):
        return "-"
    bounds = f" [{factor * line.low:{digits}}, {factor * line.high:{digits}}]" if math.isfinite(line.low) else ""
    return f"{factor * line.mean:{digits}}{bounds}{unit}"


def counted(line: Line) -> str:
    return f"{line.n} ({line.num_diverged} diverged)" if line.num_diverged else str(line.n)


def step_of(line: Line) -> str:
    return "-" if line.best_step is None else f"{line.best_step:,.0f}"


def clock(line: Line) -> str:
    if math.isnan(line.seconds):
        return "-"
    minutes, seconds = divmod(round(line.seconds), 60)
    return f"{minutes}:{seconds:02}"


def as_csv(lines: Sequence[Line], knobs: Sequence[str], metric: str) -> str:
    """Return the table with all digits, a line a setting, its numbers in the units of the record."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*knobs, f"{metric}_mean", f"{metric}_low", f"{metric}_high", "n", "num_diverged", "best_step", "seconds"])
    for line in lines:
        numbers: list[Any] = [line.mean, line.low, line.high]
        finite = [value if math.isfinite(value) else "" for value in numbers]
        best = "" if line.best_step is None else line.best_step
        writer.writerow([*line.setting.values, *finite, line.n, line.num_diverged, best, line.seconds])
    return buffer.getvalue()
