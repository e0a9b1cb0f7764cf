"""How the paper's figures look with our records: data in, a Figure out; the same arm has the same colour everywhere."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bn_repro.measures.measures import path, unit_percentiles, width
from bn_repro.records.record import Run
from bn_repro.studies.tuning import GridPoint

Arm = tuple[str, Sequence[Run]]  # label of STYLES, runs by seed


@dataclass(frozen=True)
class Style:
    color: str  # of Okabe and Ito's palette, which differ in lightness too
    line: str | tuple


STYLES = {
    "without BN": Style("#D55E00", "--"),
    "with BN": Style("#0072B2", "-"),
    "centered outside the gradient": Style("#CC79A7", "-"),
    "normalized outside the gradient": Style("#56331B", ":"),
    "with layer norm": Style("#009E73", "-."),
    "with group norm": Style("#E69F00", "-."),
    "with noisy BN": Style("#56B4E9", ":"),
    "with noise, without BN": Style("#CC79A7", (0, (3, 1, 1, 1))),
    "Inception": Style("#D55E00", "--"),
    "BN-Baseline": Style("#0072B2", "-"),
    "BN-x5": Style("#009E73", "-"),
    "BN-x30": Style("#111111", "-"),
    "BN-x5-Sigmoid": Style("#56B4E9", "-."),
    "Inception at x5": Style("#E69F00", ":"),
    "Inception at x30": Style("#B8860B", (0, (1, 3))),
    "Inception with sigmoid": Style("#CC79A7", "--"),
}
PNG_DOTS_PER_INCH = 150
SETTINGS = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def as_svg(figure: Figure, name: str) -> bytes:
    """Encode a figure, byte for byte the same each time and without what no viewer needs: coordinates to a hundredth of a point."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(rb"<[^>]+>\s*", lambda tag: shortened(tag[0]), buffer.getvalue())


def shortened(tag: bytes) -> bytes:
    """Write a tag with shorter numbers, no line breaks, and without the name of a group, which nothing refers to."""
    tag = re.sub(rb"(?<![\w.])(-?\d+\.\d\d)\d+(?![\w.])", rb"\1", tag)
    tag = re.sub(rb'<g id="[^"]*"', b"<g", tag)
    return re.sub(rb"([;:]) (?=[\w#-])", rb"\1", b" ".join(tag.split()))


def as_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(buffer, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def new_figure(columns: int, width_inches: float, height_inches: float, **arguments) -> tuple[Figure, list[Axes]]:
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width_inches, height_inches))
        axes = figure.subplots(1, columns, squeeze=False, **arguments)[0]
    return figure, list(axes)


def draw_over_seeds(axis: Axes, label: str, steps: np.ndarray, values: np.ndarray) -> None:
    """Draw the mean over seeds and a band from the lowest to the highest seed; values (seeds, steps)."""
    style = STYLES[label]
    axis.plot(steps, values.mean(0), color=style.color, linestyle=style.line, linewidth=1.6, label=label)
    axis.fill_between(steps, values.min(0), values.max(0), color=style.color, alpha=0.2, linewidth=0)


def columns_of(runs: Sequence[Run], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values (seeds, steps)) of a metric over the steps that every run measured."""
    return common_steps([run.column(metric) for run in runs])


def common_steps(series: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values (seeds, steps)) over the steps that all series (steps, values) have."""
    length = min(len(steps) for steps, _ in series)
    return series[0][0][:length], np.stack([values[:length] for _, values in series])


def figure_1a(arms: Sequence[Arm]) -> Figure:
    """Draw test accuracy against training steps, on the paper's axis and enlarged."""
    figure, axes = new_figure(2, 9, 3.6)
    for axis, (low, high) in zip(axes, ((0.7, 1.0), (0.94, 0.99))):
        for label, runs in arms:
            steps, accuracies = columns_of(runs, "accuracy")
            draw_over_seeds(axis, f"{label}", steps, accuracies)
        axis.set(xlabel="training steps", ylabel="test accuracy (fraction)", ylim=(low, high), xlim=(0, None))
        axis.xaxis.set_major_formatter(thousands)
    axes[0].set_title("as in the paper", fontsize=10, loc="left")
    axes[1].set_title("enlarged", fontsize=10, loc="left")
    axes[0].legend(loc="lower right")
    return figure


def figure_1bc(arms: Sequence[Arm]) -> Figure:
    """Draw the 15, 50 and 85 percentiles of the input to one typical sigmoid of the last hidden layer."""
    figure, axes = new_figure(len(arms), 4.5 * len(arms), 3.6, sharey=True)
    for axis, letter, (label, runs) in zip(axes, "bc", arms):
        color = STYLES[label].color
        steps = runs[0].activations["step"]
        curves = np.stack([unit_percentiles(run)[:, typical_unit(run)] for run in runs])  # (seeds, rows, percentiles)
        for column, percentile in enumerate(runs[0].config["probe.percentiles"]):
            values = curves[:, :, column]
            axis.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.13, linewidth=0)
            axis.plot(steps, values[0], color=color, linewidth=1.6)
            axis.annotate(f"{percentile:g}", (steps[-1], values[0, -1]), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        axis.set_title(f"({letter}) {label}", fontsize=10, loc="left")
        axis.set(xlabel="training steps", xlim=(0, None))
        axis.xaxis.set_major_formatter(thousands)
    axes[0].set_ylabel("input to the sigmoid")
    return figure


def typical_unit(run: Run) -> int:
    """Return the unit whose median travels the middle distance, relative to its final width."""
    percentiles = unit_percentiles(run)
    distances = path(percentiles[:, :, 1]) / width(percentiles)[-1]
    return int(np.argsort(distances, kind="stable")[len(distances) // 2])


def figure_faulty(arms: Sequence[Arm]) -> Figure:
    """Draw section 2: the norm of the biases, and the loss on a fixed batch over its first value, when biases alone train."""
    figure, axes = new_figure(2, 9, 3.4)
    for label, runs in arms:
        draw_over_seeds(axes[0], label, *columns_of(runs, "bias_norm"))
        steps, losses = columns_of(runs, "probe_loss")
        draw_over_seeds(axes[1], label, steps, losses / losses[:, :1])
    axes[0].set(xlabel="training steps", ylabel="l2 norm of all biases b", xlim=(0, None), ylim=(0, None))
    axes[1].set(xlabel="training steps", ylabel="loss over initial loss", xlim=(0, None))
    for axis in axes:
        axis.xaxis.set_major_formatter(thousands)
    axes[0].legend(loc="upper left", fontsize=8)
    return figure


KNOB_NAMES = {
    "train.momentum": "momentum", "network.init_std": "std", "base.final_lr_ratio": "final lr ratio", "base.drop_rate": "dropout"
}  # fmt: skip


def figure_protocol(points: Sequence[GridPoint], knobs: Sequence[str]) -> Figure:
    """Draw validation accuracy against learning rate, the first knob, a panel per setting of the others."""
    settings = sorted({point.values[1:] for point in points})
    figure, axes = new_figure(len(settings), 2.0 * len(settings), 2.9, sharey=True)
    for axis, setting in zip(axes, settings):
        for norm, label in (("none", "without BN"), ("batch", "with BN")):
            series = [(point.values[0], point.accuracy) for point in points if point.norm == norm and point.values[1:] == setting]
            if series:
                axis.plot(*zip(*series), color=STYLES[label].color, linestyle=STYLES[label].line, marker="o", markersize=3, label=label)
        axis.set(xscale="log", xlabel="learning rate", ylim=(0, None))
        words = (f"{KNOB_NAMES[knob]} {value:g}" for knob, value in zip(knobs[1:], setting))
        axis.set_title(", ".join(words), fontsize=8, loc="left")
    axes[0].set_ylabel("validation accuracy (fraction)")
    axes[0].legend(loc="lower center", fontsize=8)
    return figure


def thousands(value: float, position: int | None = None) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
