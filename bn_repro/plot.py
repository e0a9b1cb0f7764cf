"""How the distributions of any network's layers move in training, drawn from what a recorder or a run recorded.

    arrays = recorder.arrays()                                     # of an ActivationRecorder, or a run's `activations`
    plot.percentiles(arrays).savefig("percentiles.svg")            # of one network
    plot.drift({"without BN": plain, "with BN": normed})           # of several, side by side

Every function takes one network's arrays or `{label: arrays}`, and returns a matplotlib Figure. A place is where a layer was
recorded: a recorder's are `in` and `out`, a run's `before_norm`, `after_norm` and `after_nonlinearity`.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bn_repro.checks.values import nearest
from bn_repro.figures.distributions import Arrays, central_range, distances_to_final, draw_ridges, spread
from bn_repro.figures.style import COLOURS, LINES, SETTINGS, STYLES, Style, thousands
from bn_repro.measures.drift import layers_at

__all__ = ["drift", "percentiles", "ridges"]

Recorded = Arrays | Mapping[str, Arrays]
USUAL_PLACES = ("after_norm", "in", "out")  # the first of these that was recorded is drawn, if none is asked for
MOST_COLUMNS, MOST_RIDGED, MOST_NAMED = 5, 3, 40  # panels of a row; layers of ridges, which need room; layers named beside a map
WIDEST_NAME = 26  # letters above a panel


def percentiles(recorded: Recorded, place: str | None = None, layers: Sequence[str] | None = None) -> Figure:
    """Draw every layer's percentiles over training: a band from the lowest to the highest, a line for the median.

    Raises:
        ValueError: there is no such place or layer.
    """
    of_label = by_label(recorded)
    place = place_of(of_label, place)
    chosen = layers_of(of_label, place, layers)
    columns = min(MOST_COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    with matplotlib.rc_context({**SETTINGS, "font.size": 8}):
        figure = Figure(figsize=(max(4.0, 2.2 * columns), 0.8 + 1.6 * rows))
        axes = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for axis, layer in zip(axes, chosen):
        for (label, arrays), style in zip(of_label.items(), styles_of(of_label)):
            if f"{layer}/{place}/percentiles" in arrays:
                values = arrays[f"{layer}/{place}/percentiles"]
                middle = list(arrays["percentiles"]).index(50) if "percentiles" in arrays else values.shape[1] // 2
                draw_band(axis, arrays["step"], values, middle, style, label)
        axis.set_title(shortened(layer, chosen), loc="left", fontsize=8)
        axis.xaxis.set_major_formatter(thousands)
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    figure.supxlabel("training steps", fontsize=9)
    figure.supylabel(f"activations ({place})", fontsize=9)
    add_legend(figure, of_label)
    return figure


def shortened(layer: str, among: Sequence[str]) -> str:
    """Cut a name that is too wide for a panel, where it ends as all others do, and else at its front."""
    if len(layer) <= WIDEST_NAME:
        return layer
    parts = [name.split(".") for name in among]
    num_common = 0
    while all(len(name) > num_common + 1 and name[-1 - num_common] == parts[0][-1 - num_common] for name in parts):
        num_common += 1
    own = ".".join(layer.split(".")[: -num_common or None]) if len(among) > 1 else layer
    return own if len(own) <= WIDEST_NAME else f"…{own[1 - WIDEST_NAME :]}"


def draw_band(axis: Axes, steps: np.ndarray, values: np.ndarray, middle: int, style: Style, label: str) -> None:
    """Draw percentiles (R, P), lowest first, the median being the `middle` one."""
    axis.fill_between(steps, values[:, 0], values[:, -1], color=style.color, alpha=0.2, linewidth=0)
    marker = "o" if len(steps) == 1 else ""
    axis.plot(steps, values[:, middle], color=style.color, linestyle=style.line, marker=marker, linewidth=1.3, label=label)


def ridges(recorded: Recorded, place: str | None = None, layers: Sequence[str] | None = None) -> Figure:
    """Draw layers' histograms at steps of training, one above the other; a row for each network.

    Args:
        layers: by default three, the first and the last among them.

    Raises:
        ValueError: there is no such place or layer.
    """
    of_label = by_label(recorded)
    place = place_of(of_label, place)
    chosen = layers_of(of_label, place, layers)
    chosen = spread(chosen, MOST_RIDGED) if layers is None else chosen
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(2.4 * len(chosen) + 1.2, 2.7 * len(of_label)))
        axes = figure.subplots(len(of_label), len(chosen), squeeze=False)
    for column, layer in zip(axes.T, chosen):
        site = f"{layer}/{place}"
        shown = central_range([arrays for arrays in of_label.values() if f"{site}/histogram" in arrays], site)
        for axis, (label, arrays), style in zip(column, of_label.items(), styles_of(of_label)):
            axis.set_visible(f"{site}/histogram" in arrays)
            if axis.get_visible():
                draw_ridges(axis, arrays, site, style.color, shown)
            axis.set(xlim=shown)
            axis.set_title("\n".join(filter(None, (layer, label))), fontsize=8, loc="left")
        column[-1].set_xlabel(f"activations ({place})")
    for axis in axes[:, 0]:
        axis.set_ylabel("training steps")
    return figure


def drift(recorded: Recorded, place: str | None = None) -> Figure:
    """Draw, for every layer and record, how far its distribution is from its final one (Kolmogorov-Smirnov); a panel a network.

    Raises:
        ValueError: there is no such place, or fewer than two records.
    """
    of_label = by_label(recorded)
    place = place_of(of_label, place)
    if any(len(arrays["step"]) < 2 for arrays in of_label.values()):
        raise ValueError("drift is between records, and there are fewer than two")
    without = [label for label, arrays in of_label.items() if not layers_at(arrays, place)]
    if without:
        raise ValueError(f"nothing was recorded at '{place}' of {without[0]}")
    maps = {label: distances_to_final(arrays, place) for label, arrays in of_label.items()}  # (layers, records) each
    most_layers = max(map(len, maps.values()))
    finite = [float(distance) for distances in maps.values() for distance in distances.flat if np.isfinite(distance)]
    highest = max(finite, default=0.0) or 1.0
    with matplotlib.rc_context({**SETTINGS, "axes.grid": False}):
        figure = Figure(figsize=(3.6 * len(maps) + 1.5, max(2.5, min(0.18 * most_layers, 9.0) + 1)))
        axes = figure.subplots(1, len(maps), squeeze=False)[0]
    for axis, (label, distances) in zip(axes, maps.items()):
        names = layers_at(of_label[label], place)
        image = axis.pcolormesh(edges_between(of_label[label]["step"]), np.arange(len(names) + 1) + 0.5, distances, cmap="magma_r")
        image.set_clim(0, highest)
        axis.set(xlabel="training steps", ylim=(len(names) + 0.5, 0.5))
        axis.xaxis.set_major_formatter(thousands)
        axis.set_title(label, fontsize=9, loc="left")
        if len(names) <= MOST_NAMED:
            axis.set_yticks(range(1, len(names) + 1), names, fontsize=7)
    if most_layers > MOST_NAMED:
        axes[0].set_ylabel("layer, from the input")
    figure.colorbar(image, ax=axes, label="distance to the final distribution")
    return figure


def edges_between(steps: np.ndarray) -> np.ndarray:
    """Return where the cells of records end (R + 1,): halfway to the next, as far beyond the first and the last."""
    middles = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[2 * steps[0] - middles[0]], middles, [2 * steps[-1] - middles[-1]]])


def by_label(recorded: Recorded) -> dict[str, Arrays]:
    """Return `{label: arrays}`; one network's arrays are labelled "".

    Raises:
        ValueError: nothing was recorded.
    """
    of_label = {"": cast(Arrays, recorded)} if "step" in recorded else dict(cast(Mapping[str, Arrays], recorded))
    for label, arrays in of_label.items():
        if "step" not in arrays or not len(arrays["step"]):
            raise ValueError(f"nothing was recorded{f' of {label}' if label else ''}; a recorder sees the passes made in its with-block")
    if not of_label:
        raise ValueError("there is nothing to draw")
    return of_label


def place_of(of_label: Mapping[str, Arrays], place: str | None) -> str:
    places = [dict.fromkeys(name.split("/")[-2] for name in arrays if name.endswith("/histogram")) for arrays in of_label.values()]
    recorded = {place: None for of_network in places for place in of_network}
    if place is None:
        common = [one for one in recorded if all(one in of_network for of_network in places)] or list(recorded)
        return next((usual for usual in USUAL_PLACES if usual in common), common[0])
    if place not in recorded:
        raise ValueError(f"place '{place}' was not recorded; choices: {', '.join(recorded)}")
    return place


def layers_of(of_label: Mapping[str, Arrays], place: str, layers: Sequence[str] | None) -> list[str]:
    """Return the chosen layers, or all that any network recorded there, in the networks' order."""
    recorded = list(dict.fromkeys(layer for arrays in of_label.values() for layer in layers_at(arrays, place)))
    for layer in layers or ():
        if layer not in recorded:
            raise ValueError(f"layer '{layer}' was not recorded at '{place}'{nearest(layer, recorded)}; choices: {', '.join(recorded)}")
    return list(layers) if layers else recorded


def styles_of(labels: Mapping[str, Arrays]) -> list[Style]:
    """Return how each network is drawn: an arm of ours as everywhere, others in colours that those do not have."""
    own = {STYLES[label].color for label in labels if label in STYLES}
    others = itertools.cycle(Style(color, line) for line in LINES for color in COLOURS if color not in own)
    styles: list[Style] = []
    for label in labels:
        style = STYLES.get(label)
        styles.append(next(others) if style is None or style in styles else style)  # two arms of ours may look the same
    return styles


def add_legend(figure: Figure, of_label: Mapping[str, Arrays]) -> None:
    if len(of_label) > 1:
        handles = {label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels())}
        figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles), frameon=False)
