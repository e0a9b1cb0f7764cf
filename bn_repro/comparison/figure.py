"""How a comparison is drawn: curves with bands or, where one knob takes three numbers or more, the metric against that knob."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bn_repro.comparison.numbers import SHARES, Line
from bn_repro.comparison.settings import Setting, in_words, short_names, shown
from bn_repro.figures.style import COLOURS, LINES, new_figure, thousands

FEWEST_POINTS = 3  # of a knob, to be an axis
MOST_TICKS = 12
WIDE = 8  # times the smallest value: from there on an axis is logarithmic


def draw(lines: Sequence[Line], knobs: Sequence[str], metric: str) -> Figure:
    knob = swept_knob([line.setting for line in lines], knobs)
    figure, (axis,) = new_figure(1, 7, 4.5)
    if knob is not None:
        draw_against(axis, lines, list(knobs), knob)
    elif any(line.best_step is not None for line in lines):
        draw_curves(axis, [line.setting for line in lines], knobs, metric)
    else:
        draw_points(axis, lines, knobs)
    axis.set_ylabel(f"{metric} (fraction)" if SHARES in metric else metric)
    handles, labels = axis.get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def swept_knob(settings: Sequence[Setting], knobs: Sequence[str]) -> str | None:
    """Return the knob with the most different numbers, if it has enough for an axis."""
    values_of = dict(zip(knobs, zip(*(setting.values for setting in settings))))
    num_points = {knob: len(set(filter(is_number, values))) for knob, values in values_of.items()}
    return next((knob for knob, num in num_points.items() if num == max(num_points.values()) and num >= FEWEST_POINTS), None)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def style_of(number: int) -> Mapping[str, Any]:
    """Return the colour and the line of one of many settings; neighbours differ in both, and the first 32 in one of them."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[(number + number // len(COLOURS)) % len(LINES)]}


def draw_against(axis: Axes, lines: Sequence[Line], knobs: list[str], knob: str) -> None:
    """Draw means and intervals against a knob, a line for each setting of the others; without an interval, a point.

    Where the knob has no number, as where it is not set, the mean is a level line that names its value.
    """
    place = knobs.index(knob)
    names = short_names(knobs)
    curves: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        value = line.setting.values[place]
        others = line.setting.values[:place] + line.setting.values[place + 1 :]
        curves.setdefault((others, "" if is_number(value) else f"{names[place]} {shown(value)}"), []).append(line)
    others_names = names[:place] + names[place + 1 :]
    for number, ((others, level), of_curve) in enumerate(curves.items()):
        label = ", ".join([*(f"{name} {shown(value)}" for name, value in zip(others_names, others)), *filter(None, [level])])
        if level:
            axis.axhline(of_curve[0].mean, **style_of(number), linewidth=1, label=label)
            continue
        points = sorted(of_curve, key=lambda line: line.setting.values[place])
        x, mean = np.array([(line.setting.values[place], line.mean) for line in points]).T
        bounds = np.array([(line.low, line.high) if np.isfinite(line.low) else (line.mean, line.mean) for line in points])
        axis.plot(x, mean, **style_of(number), marker="o", markersize=3.5, label=label)
        axis.fill_between(x, *bounds.T, color=style_of(number)["color"], alpha=0.15, linewidth=0)
    values = {float(line.setting.values[place]) for line in lines if is_number(line.setting.values[place])}
    if min(values) > 0 and max(values) >= WIDE * min(values):
        axis.set_xscale("log")
        if len(values) <= MOST_TICKS:
            axis.set_xticks(sorted(values), [f"{value:g}" for value in sorted(values)])
            axis.minorticks_off()
    axis.set_xlabel(knob)
    axis.set_title("means and 95 % intervals", fontsize=9, loc="left")


def draw_curves(axis: Axes, settings: Sequence[Setting], knobs: Sequence[str], metric: str) -> None:
    """Draw the metric over training: means, and a band from the lowest to the highest run.

    Runs that ended before the longest of their setting, as those that diverged, are left out of the curve, and counted.
    """
    for number, setting in enumerate(settings):
        curves = [(steps, values) for steps, values in (run.column(metric) for run in setting.runs) if len(steps)]
        if not curves:
            continue
        last = max(steps[-1] for steps, _ in curves)
        whole = [(steps, values) for steps, values in curves if steps[-1] == last]
        steps, values = on_common_steps(whole)
        ended = f", without {len(curves) - len(whole)} that ended earlier" if len(curves) > len(whole) else ""
        axis.plot(steps, values.mean(0), **style_of(number), linewidth=1.5, label=f"{in_words(setting, knobs)} (n = {len(whole)}{ended})")
        axis.fill_between(steps, values.min(0), values.max(0), color=style_of(number)["color"], alpha=0.15, linewidth=0)
    axis.set(xlabel="training steps", xlim=(0, None))
    axis.xaxis.set_major_formatter(thousands)
    axis.set_title("means, and bands from the lowest to the highest run", fontsize=9, loc="left")


def on_common_steps(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values (runs, steps)) over the steps that every run measured, whatever their cadences."""
    common = reduce(np.intersect1d, (steps for steps, _ in curves))
    return common, np.stack([values[np.isin(steps, common)] for steps, values in curves])


def draw_points(axis: Axes, lines: Sequence[Line], knobs: Sequence[str]) -> None:
    """Draw a mean and its interval for each setting, of a metric that is measured at the end alone."""
    for number, line in enumerate(lines):
        half = [[line.mean - line.low], [line.high - line.mean]] if np.isfinite(line.low) else None
        axis.errorbar([number], [line.mean], yerr=half, color=COLOURS[number % len(COLOURS)], marker="o", capsize=4)
    axis.set_xticks(range(len(lines)), [in_words(line.setting, knobs) for line in lines], rotation=20, ha="right", fontsize=8)
    axis.set_title("means and 95 % intervals", fontsize=9, loc="left")
