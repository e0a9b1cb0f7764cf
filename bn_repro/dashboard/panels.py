"""Which panels show a measure: accuracy, percentiles, histograms, drift, gradient shift, landscape, claims, figures.

The series are those of `tracking`, the tables and figures those of `report_run`.
"""

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr

from bn_repro.dashboard.report_run import CLAIM_TABLE, drift_table, figure_key
from bn_repro.measures.drift import INPUTS

COLUMNS, PANEL_WIDTH, PANEL_HEIGHT = 3, 8, 7  # of a grid that is 24 wide
DRIFTS = {"median_path": "path of the median", "wasserstein_to_final": "Wasserstein-1 distance to the final distribution"}
MEASURES = {
    "gradient_shift": {"relative": "how far the update below moves a layer's gradient", "cosine": "cosine of the two gradients"},
    "landscape": {
        "loss(_min|_max)?": "loss along the gradient",
        "gradient_change_(min|max)": "change of the gradient",
        "beta_smoothness": "effective beta-smoothness",
    },
    "jacobian": {
        "distance_from_one": "mean |ln s| of the singular values",
        "spread": "spread of ln s",
        "batch_largest": "largest singular value of the whole batch's map",
    },
    "magnitudes": {
        "affine": "root mean square of activations",
        "affine_gradient": "root mean square of the gradients with respect to them",
        "weight_gradient": "root mean square of the gradient in W",
    },
}
MEASURES_OF_EVOLUTION = {
    "diversity": {
        "single_action": "share of perturbed policies that take one action only",
        "entropy": "entropy of a perturbed policy's actions",
        "disagreement": "share of states on which two perturbed policies differ",
        "gradient_agreement": "correlation of finite differences with the gradient",
    },
}


def curve(title: str, *series: str, regex: str | None = None, **options: Any) -> wr.LinePlot:
    """Draw series against training steps: means over an arm's seeds, and a band from the lowest to the highest."""
    return wr.LinePlot(
        title=title, x="step", y=list(series), metric_regex=regex, title_x="training steps", groupby=wr.Config("arm"),
        groupby_aggfunc="mean", groupby_rangefunc="minmax", **options,
    )  # fmt: skip


def accuracy_panels() -> list[Any]:
    return [
        curve("Accuracy by arm", "eval/accuracy", title_y="accuracy (fraction)"),
        curve("Evaluation loss by arm", "eval/loss", log_y=True),
        curve("Training loss by arm", "train/loss", log_y=True),
        wr.BarPlot(title="Final accuracy", metrics=["final/accuracy"], groupby=wr.Config("arm"), groupby_aggfunc="mean"),
    ]


def score_panels() -> list[Any]:
    return [
        curve("Score by arm", "eval/score", title_y="mean score of an episode"),
        curve("Scores of the population", "train/population_score", "train/population_best"),
        curve("Frames played", "train/frames"),
        wr.BarPlot(title="Final score", metrics=["final/score"], groupby=wr.Config("arm"), groupby_aggfunc="mean"),
    ]


def percentile_panels(layers: Sequence[str], percentiles: Sequence[str]) -> list[Any]:
    names = ", ".join(percentiles)
    return [
        curve(f"{names} before the nonlinearity, {layer}", *(f"percentiles/{layer}/{INPUTS}/{p}" for p in percentiles)) for layer in layers
    ]


def histogram_panels(layers: Sequence[str]) -> list[Any]:
    """Draw heat maps over training; W&B draws those of the first run, or of one group of runs."""
    return [wr.LinePlot(title=f"Histogram, {layer}", x="step", y=[f"histograms/{layer}/{INPUTS}"]) for layer in layers]


def moving_panels() -> list[Any]:
    return [
        curve("Median of every layer", regex=f"^percentiles/.*/{INPUTS}/p50$"),
        curve("Standard deviation of every layer", regex=f"^std/.*/{INPUTS}$"),
        curve("Saturated share of every layer", regex=f"^saturated/.*/{INPUTS}$"),
    ]


def drift_panels(experiment: str) -> list[Any]:
    """Draw the drift of each arm against the layer's number, from the table of the report's run."""
    return [
        wr.CustomChart(
            query={"summaryTable": {"tableKey": drift_table(experiment)}},
            chart_name="wandb/line/v0",
            chart_fields={"x": "depth", "y": measure, "stroke": "arm"},
            chart_strings={"title": f"{experiment}: {meaning}"},
        )
        for measure, meaning in DRIFTS.items()
    ]


def bias_panels() -> list[Any]:
    return [curve("l2 norm of all biases", "train/bias_norm"), curve("Loss on a fixed batch", "probe/loss")]


def section_panels(section: str) -> list[Any]:
    """Draw the metrics of a section that the record names itself; one that is not known here is drawn in one panel."""
    measures = (MEASURES | MEASURES_OF_EVOLUTION).get(section, {".*": "all of its measures"})
    return [curve(f"{section}: {meaning}", regex=f"^{section}/(.*/)?{measure}$") for measure, meaning in measures.items()]


def claim_panels() -> list[Any]:
    return [wr.WeavePanelSummaryTable(table_name=CLAIM_TABLE, layout=wr.Layout(w=COLUMNS * PANEL_WIDTH, h=3 * PANEL_HEIGHT))]


def figure_panels(figures: Sequence[str]) -> list[Any]:
    return [wr.MediaBrowser(title=name, media_keys=[figure_key(name)], num_columns=1) for name in figures]


def in_rows(panels: Sequence[Any]) -> list[Any]:
    """Place panels in rows of three."""
    for place, panel in enumerate(panels):
        panel.layout = wr.Layout(
            x=place % COLUMNS * PANEL_WIDTH, y=place // COLUMNS * PANEL_HEIGHT, w=PANEL_WIDTH, h=PANEL_HEIGHT
        )  # fmt: skip
    return list(panels)
