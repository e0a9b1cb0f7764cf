"""How the distributions of every layer move in training: percentiles, histograms and drift, with and without BN (Figures 1b, 1c)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bn_repro.figures.style import SETTINGS, STYLES, Arm, thousands
from bn_repro.measures.drift import INPUTS, kolmogorov_smirnov, layers_at

Arrays = Mapping[str, np.ndarray]  # {"step": (R,), "<layer>/<place>/<measure>": (R, ...)}, a run's or a recorder's
MOST_RIDGES = 8
MOST_LAYERS = 3  # of histograms over training, which need room
PLACES = {"before_norm": "before the norm", "after_norm": "after the norm, before the nonlinearity"}


def grid_of(layers: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Place layers as Figure 5 lists them: {layer: (row, column)}, a row for each module, a column for each of its layers."""
    modules: dict[str, list[str]] = {}
    for layer in layers:
        parts = layer.split(".")
        modules.setdefault(".".join(parts[:2]) if parts[0] == "inception" else parts[0], []).append(layer)
    columns = list(dict.fromkeys(branch_of(layer) for layer in max(modules.values(), key=len)))
    places = {}
    for row, members in enumerate(modules.values()):
        for number, layer in enumerate(members):
            branch = branch_of(layer)
            places[layer] = row, columns.index(branch) if branch in columns else number
    return places


def branch_of(layer: str) -> str:
    """Return a layer's name within its module."""
    parts = short_name(layer).split(".")
    return ".".join(parts[1:])


def short_name(layer: str) -> str:
    """Return a layer's name as Figure 5 has it, such as `3a.reduce_3x3`."""
    return layer.removeprefix("inception.").replace("reductions.", "")


def figure_percentiles(arms: Sequence[Arm]) -> Figure:
    """Draw the lowest to highest percentile as a band and the median as a line, of the inputs to every nonlinearity; the first seed's."""
    runs = {label: runs[0] for label, runs in arms}
    layers = layers_at(next(iter(runs.values())).activations, INPUTS)
    places = grid_of(layers)
    num_rows, num_columns = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    values = np.concatenate([run.activations[f"{layer}/{INPUTS}/percentiles"].ravel() for run in runs.values() for layer in layers])
    limit = float(np.nanpercentile(np.abs(values), 98))
    height, font_size = (0.95, 7) if num_rows > 1 else (2.6, 10)
    with matplotlib.rc_context({**SETTINGS, "font.size": font_size}):
        figure = Figure(figsize=(max(9.0, 1.6 * num_columns), 0.8 + height * num_rows))
        axes = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    for layer, place in places.items():
        axis = axes[place]
        axis.set_visible(True)
        for label, run in runs.items():
            percentiles = run.activations[f"{layer}/{INPUTS}/percentiles"]
            steps, color = run.activations["step"], STYLES[label].color
            axis.fill_between(steps, percentiles[:, 0], percentiles[:, -1], color=color, alpha=0.2, linewidth=0)
            axis.plot(
                steps, percentiles[:, percentiles.shape[1] // 2], color=color, linestyle=STYLES[label].line, linewidth=1.3, label=label
            )
        axis.set_title(short_name(layer), loc="left", pad=2, fontsize=font_size)
        axis.xaxis.set_major_formatter(thousands)
        axis.set(xlim=(0, None), ylim=(-limit, limit))
        is_left, is_bottom = place[1] == 0, is_lowest(place, places)
        axis.tick_params(left=is_left, labelleft=is_left, bottom=is_bottom, labelbottom=is_bottom)
        axis.grid(visible=num_rows == 1)
    figure.supxlabel("training steps", fontsize=10)
    figure.supylabel("input to the nonlinearity", fontsize=10)
    handles = axes[next(iter(places.values()))].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=len(runs), frameon=False, fontsize=10)
    return figure


def is_lowest(place: tuple[int, int], places: dict[str, tuple[int, int]]) -> bool:
    return all(row <= place[0] for row, column in places.values() if column == place[1])


def figure_ridges(arms: Sequence[Arm]) -> Figure:
    """Draw the histogram of a layer's inputs to the nonlinearity at steps of training, one above the other; the first seed's."""
    runs = [(label, runs[0]) for label, runs in arms]
    layers = spread(layers_at(runs[0][1].activations, INPUTS), MOST_LAYERS)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(2.4 * len(layers) + 1.2, 2.7 * len(runs)))
        axes = figure.subplots(len(runs), len(layers), squeeze=False, sharex="col")
    bounds = [central_range([run.activations for _, run in runs], f"{layer}/{INPUTS}") for layer in layers]
    for row, (label, run) in zip(axes, runs):
        for axis, layer, shown in zip(row, layers, bounds):
            draw_ridges(axis, run.activations, f"{layer}/{INPUTS}", STYLES[label].color, shown)
            axis.set_title(f"{short_name(layer)}\n{label}", fontsize=8, loc="left")
        row[0].set_ylabel("training steps")
    for axis, shown in zip(axes[-1], bounds):
        axis.set(xlim=shown, xlabel="input to the nonlinearity")
    return figure


def draw_ridges(axis: Axes, arrays: Arrays, site: str, color: str, shown: tuple[float, float]) -> None:
    """Draw densities upwards from baselines, the first step's lowest; each as high as the highest of them all allows."""
    histograms = arrays[f"{site}/histogram"].astype(float)
    edges = edges_of(arrays, site)
    centers = (edges[1:] + edges[:-1]) / 2
    is_shown = (edges[1:] > shown[0]) & (edges[:-1] < shown[1])
    chosen = spread(range(len(histograms)), MOST_RIDGES)
    densities = histograms / np.maximum(histograms.sum(1, keepdims=True), 1)
    height = 1.8 / max(densities[chosen].max(), 1e-9)
    for level, row in reversed(list(enumerate(chosen))):
        ridge = level + height * densities[row][is_shown]
        axis.fill_between(centers[is_shown], level, ridge, facecolor=(color, 0.45), edgecolor=color, linewidth=0.8, zorder=2 - level / 100)
    axis.set_yticks(range(len(chosen)), [thousands(float(step)) for step in arrays["step"][chosen]])
    axis.tick_params(axis="y", labelsize=8, length=0)
    axis.grid(visible=False)


def edges_of(arrays: Arrays, site: str) -> np.ndarray:
    low, high = arrays[f"{site}/range"][0]
    return np.linspace(low, high, arrays[f"{site}/histogram"].shape[1] + 1)


def central_range(recorded: Sequence[Arrays], site: str) -> tuple[float, float]:
    """Return the interval of all but half a percent of the values on either side, over the whole of training and all runs."""
    all_edges = [edges_of(arrays, site) for arrays in recorded]
    if any(len(edges) != len(all_edges[0]) or not np.array_equal(edges, all_edges[0]) for edges in all_edges):
        ranges = [central_range([arrays], site) for arrays in recorded]  # of each by its own bins
        return min(low for low, _ in ranges), max(high for _, high in ranges)
    counts = sum(arrays[f"{site}/histogram"].sum(0, dtype=float) for arrays in recorded)
    shares, edges = np.cumsum(counts) / counts.sum(), all_edges[0]
    first, last = np.searchsorted(shares, [0.005, 0.995])
    return float(edges[first]), float(edges[last + 1])


def spread(items: Sequence[Any], number: int) -> list[Any]:
    """Return at most so many of the items, evenly spread, first and last among them."""
    chosen = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[index] for index in chosen]


def figure_drift(arms: Sequence[Arm]) -> Figure:
    """Draw, for every layer and record, how far its distribution is from its final one; a panel for each arm, means over seeds."""
    maps = {
        (place, label): mean_of_common([distances_to_final(run.activations, place) for run in runs])
        for place in PLACES
        for label, runs in arms
    }  # (layers, records) each
    highest = max(float(np.nanmax(distances)) for distances in maps.values())
    with matplotlib.rc_context({**SETTINGS, "axes.grid": False}):
        figure = Figure(figsize=(2.9 * len(arms) + 1, 6))
        axes = figure.subplots(len(PLACES), len(arms), squeeze=False, sharex=True, sharey=True)
    for row, (place, words) in zip(axes, PLACES.items()):
        for axis, (label, runs) in zip(row, arms):
            distances = maps[place, label]
            steps = runs[0].activations["step"][: distances.shape[1]]
            half = (steps[1] - steps[0]) / 2
            extent = (steps[0] - half, steps[-1] + half, len(distances) + 0.5, 0.5)
            image = axis.imshow(distances, aspect="auto", extent=extent, cmap="magma_r", vmin=0, vmax=highest, interpolation="none")
            axis.set_title(f"{label}\n{words}", fontsize=9, loc="left")
            axis.xaxis.set_major_formatter(thousands)
            axis.yaxis.get_major_locator().set_params(integer=True)
        row[0].set_ylabel("layer, from the input")
    for axis in axes[-1]:
        axis.set_xlabel("training steps")
    figure.colorbar(image, ax=axes, label="Kolmogorov-Smirnov distance to the final distribution", shrink=0.8)
    return figure


def mean_of_common(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Average maps (layers, records) over the records that all have."""
    length = min(distances.shape[1] for distances in maps)
    return np.mean([distances[:, :length] for distances in maps], axis=0)


def distances_to_final(arrays: Arrays, place: str) -> np.ndarray:
    """Return the Kolmogorov-Smirnov distance of each record of each layer to its last: (layers, records)."""
    histograms = [arrays[f"{layer}/{place}/histogram"] for layer in layers_at(arrays, place)]
    return np.stack([kolmogorov_smirnov(counts, counts[-1:]) for counts in histograms])
