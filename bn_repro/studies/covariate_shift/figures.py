"""How gradients, the loss along them, layer Jacobians and magnitudes look with BN, without, and with noise after it."""

import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bn_repro.figures.distributions import short_name
from bn_repro.figures.style import SETTINGS, STYLES, Arm, columns_of, common_steps, draw_over_seeds, new_figure, thousands
from bn_repro.measures.accuracy import final_accuracy
from bn_repro.records.record import Run
from bn_repro.studies.covariate_shift.measures import by_layer, shift_over_steps

MOST_SPECTRA = 5


def figure_training(arms: Sequence[Arm]) -> Figure:
    """Draw the training loss, and each seed's final test accuracy."""
    figure, (losses, accuracies) = new_figure(2, 9, 3.4)
    for number, (label, runs) in enumerate(arms):
        draw_over_seeds(losses, label, *columns_of(runs, "train_loss"))
        accuracies.plot([final_accuracy(run) for run in runs], [number] * len(runs), "o", color=STYLES[label].color, alpha=0.8)
    over_steps(losses, "training loss (nats)", is_logarithmic=True)
    accuracies.set(xlabel="final test accuracy (%), each seed", ylim=(len(arms) - 0.5, -0.5))
    accuracies.set_yticks(range(len(arms)), [label for label, _ in arms])
    losses.legend(fontsize=8, frameon=False)
    return figure


def figure_gradient_shift(arms: Sequence[Arm]) -> Figure:
    """Draw three measures of the gradient shift against training steps, the median over layers but the first."""
    figure, axes = new_figure(3, 12, 3.4)
    rows = (("shift", "l2 norm of G - G'"), ("relative", "the same over the norm of G"), ("cosine", "cosine of G and G'"))
    for axis, (measure, words) in zip(axes, rows):
        for label, runs in arms:
            draw_over_seeds(axis, label, *common_steps([shift_over_steps(run, measure) for run in runs]))
        over_steps(axis, words, is_logarithmic=measure != "cosine")
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def figure_landscape(arms: Sequence[Arm]) -> Figure:
    """Draw the lowest to highest loss, and change of the gradient, along the gradient as bands, and the effective beta-smoothness."""
    figure, axes = new_figure(3, 12, 3.4)
    bands = (
        ("loss_min", "loss_max", "loss along the gradient (nats)"),
        ("gradient_change_min", "gradient_change_max", "l2 change of the gradient"),
    )
    for label, runs in arms:
        color = STYLES[label].color
        for axis, (low, high, words) in zip(axes, bands):
            steps, lows = columns_of(runs, f"landscape/{low}")
            _, highs = columns_of(runs, f"landscape/{high}")
            axis.fill_between(steps, lows.mean(0), highs.mean(0), color=color, alpha=0.3, linewidth=0, label=label)
            for edge in (lows, highs):
                axis.plot(steps, edge.mean(0), color=color, linestyle=STYLES[label].line, linewidth=0.8)
            over_steps(axis, words, is_logarithmic=True)
        draw_over_seeds(axes[2], label, *columns_of(runs, "landscape/beta_smoothness"))
    over_steps(axes[2], "effective beta-smoothness", is_logarithmic=True)
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def figure_spectra(arms: Sequence[Arm]) -> Figure:
    """Draw the singular values of layer Jacobians at the last step that has them, from the smallest to the largest."""
    spectra = [(label, [final_spectra(run) for run in runs]) for label, runs in arms]
    layers = list(spectra[0][1][0])[:MOST_SPECTRA]
    figure, axes = new_figure(len(layers), max(2.4 * len(layers), 7.2), 3.4, sharey=True)
    for axis, layer in zip(axes, layers):
        for label, seeds in spectra:
            shares = np.array(list(seeds[0][layer]))
            draw_over_seeds(axis, label, shares, np.array([list(seed[layer].values()) for seed in seeds]))
        axis.axhline(1, color="#999999", linewidth=0.9, linestyle=":")
        axis.set(xlabel="percentile", xlim=(0, 100))
        logarithmic(axis)
        axis.set_title(short_name(layer), fontsize=8, loc="left")
    axes[0].set_ylabel("singular value")
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def final_spectra(run: Run) -> dict[str, dict[int, float]]:
    """Return {layer: {percentile: singular value}} of the layers whose singular values are all known."""
    row = next(row for row in reversed(run.metrics) if any(name.startswith("jacobian/") for name in row))
    found: dict[str, dict[int, float]] = {}
    for name, value in row.items():
        measure = re.fullmatch(r"jacobian/(?P<layer>.+)/p(?P<percentile>\d+)", name)
        if measure:
            found.setdefault(measure["layer"], {})[int(measure["percentile"])] = value
    return {layer: {**values, 100: row[f"jacobian/{layer}/largest"]} for layer, values in found.items()}


def figure_depth(arms: Sequence[Arm]) -> Figure:
    """Draw the size of activations and of the gradients in them against depth, of the untrained network and late in training."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 6))
        axes = figure.subplots(2, 2, sharex=True, sharey="row")
    rows = (("affine", "activations W u (root mean square)"), ("affine_gradient", "gradients of the loss (root mean square)"))
    for row, (measure, words) in zip(axes, rows):
        for axis, moment in zip(row, (0, -1)):
            for label, runs in arms:
                columns = [by_layer(run, "magnitudes", measure) for run in runs]
                values = np.array([[series[moment] for series in layers.values()] for _, layers in columns])  # (seeds, layers)
                draw_over_seeds(axis, label, np.arange(1, values.shape[1] + 1), values)
            logarithmic(axis)
            axis.set_title(f"step {columns[0][0][moment]:,}", fontsize=10, loc="left")
        row[0].set_ylabel(words)
    for axis in axes[1]:
        axis.set_xlabel("layer, from the input")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0][0].legend(fontsize=8, frameon=False)
    return figure


def over_steps(axis: Axes, words: str, is_logarithmic: bool = False) -> None:
    axis.set(xlabel="training steps", ylabel=words, xlim=(0, None))
    if is_logarithmic:
        logarithmic(axis)
    axis.xaxis.set_major_formatter(thousands)


def logarithmic(axis: Axes) -> None:
    """Make the vertical axis logarithmic, its labels plain numbers."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
