"""How every figure looks: the same arm has the same colour everywhere, and a figure the same bytes each time."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bn_repro.records.record import Run

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
    "Goldberg's layer norm": Style("#111111", ":"),
    "with noisy BN": Style("#56B4E9", ":"),
    "with noise, without BN": Style("#CC79A7", (0, (3, 1, 1, 1))),
    "standardized, without BN": Style("#CC79A7", ":"),
    "no dropout, twice the steps, without BN": Style("#E69F00", (0, (3, 1, 1, 1))),
    "with VBN": Style("#111111", "-"),
    "ES without VBN": Style("#D55E00", "--"),
    "ES with VBN": Style("#0072B2", "-"),
    "GA without VBN": Style("#009E73", "-."),
    "Inception": Style("#D55E00", "--"),
    "BN-Baseline": Style("#0072B2", "-"),
    "BN-x5": Style("#009E73", "-"),
    "BN-x30": Style("#111111", "-"),
    "BN-x5-Sigmoid": Style("#56B4E9", "-."),
    "Inception at x5": Style("#E69F00", ":"),
    "Inception at 0.018": Style("#E69F00", "-."),
    "Inception at x30": Style("#B8860B", (0, (1, 3))),
    "Inception with sigmoid": Style("#CC79A7", "--"),
}
# Of what is no arm of ours, in order; lines differ too, for grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#111111", "#B8860B")
LINES = ("-", "--", "-.", ":")
PNG_DOTS_PER_INCH = 150
FONTS = b"'DejaVu Sans','Bitstream Vera Sans',Verdana,Arial,Helvetica,sans-serif"  # the first is what figures are measured with
POINT = rb"-?[\d.]+ -?[\d.]+"
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
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    written = re.sub(rb"<[^>]+>\s*", lambda tag: shortened(tag[0]), buffer.getvalue())
    return written.replace(b"<svg ", b'<svg style="font-family:%s" ' % FONTS, 1)


def shortened(tag: bytes) -> bytes:
    """Write a tag with shorter numbers and lines, no line breaks, and without fonts, turns by 0, and names of groups, which none uses."""
    tag = re.sub(rb"(?<![\w.])(-?\d+\.\d\d)\d+(?![\w.])", rb"\1", tag)
    tag = re.sub(rb'<g id="[^"]*"', b"<g", tag)
    tag = re.sub(rb"font-family: [^;\"]*;?", b"", tag)
    tag = re.sub(rb' transform="rotate\(-?0 [^"]*"', b"", tag)
    tag = re.sub(rb"([;:]) (?=[\w#-])", rb"\1", b" ".join(tag.split()))
    return re.sub(rb"[ML] %s(?: L %s)+" % (POINT, POINT), lambda lines: lines[0].replace(b" L", b""), tag)


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


def thousands(value: float, position: float | None = None) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
