"""The W&B report of any runs, such as a user's own sweep: their curves, and what they reached against the knobs in which they differ."""

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
from wandb_workspaces import expr

from bn_repro.comparison.figure import is_number
from bn_repro.comparison.settings import differing_knobs
from bn_repro.dashboard.panels import in_rows
from bn_repro.experiments.tracking import OWN
from bn_repro.experiments.wandb_names import fitting
from bn_repro.records.own import is_own
from bn_repro.records.record import Run


def build(entity: str, project: str, runs: Sequence[Run]) -> list[wr.Report]:
    """Build the report, alone in a list; each setting of the knobs is a group, whose lines are means over seeds.

    Raises:
        ValueError: the runs differ in no knob.
    """
    knobs = differing_knobs(runs)
    if not knobs:
        raise ValueError("the runs given differ in no knob but the seed; give runs of a sweep")
    runset = wr.Runset(
        entity=entity,
        project=project,
        name="sweep",
        filters=expr.And(expr.Metric("Group").isin(groups_of(runs)), expr.Metric("Name").isin([fitting(run.name) for run in runs])),
        groupby=[f"config.{knob}" for knob in knobs],
    )
    title = f"Sweep of {', '.join(knobs)}: {', '.join(dict.fromkeys(run.address.split('/')[0] for run in runs))}"
    blocks = [wr.PanelGrid(runsets=[runset], panels=in_rows(sweep_panels(runs, knobs)))]
    return [wr.Report(entity=entity, project=project, title=title, blocks=blocks, width="fluid")]


def groups_of(runs: Sequence[Run]) -> list[str]:
    """Name W&B's groups of the runs: their experiments, and of a user's own those marked so."""
    return list(dict.fromkeys(fitting(run.address.split("/")[0] + (OWN if is_own(run.address) else "")) for run in runs))


def sweep_panels(runs: Sequence[Run], knobs: Sequence[str]) -> list[Any]:
    """Draw curves by setting, all knobs beside the end, and the end against each knob that is a number."""
    measure = "score" if any("score" in run.summary for run in runs if run.is_complete) else "accuracy"
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(knob)) for knob in knobs]
    columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(f"final/{measure}")))
    numbers = [knob for knob in knobs if all(is_number(run.config.get(knob)) for run in runs)]
    return [
        wr.LinePlot(title=f"{measure.capitalize()} by setting", x="step", y=[f"eval/{measure}"], title_x="training steps"),
        wr.LinePlot(title="Training loss by setting", x="step", y=["train/loss"], title_x="training steps", log_y=True),
        wr.ParallelCoordinatesPlot(title=f"Knobs and final {measure}", columns=columns),
        *(
            wr.ScatterPlot(title=f"Final {measure} against {knob}", x=wr.Config(knob), y=wr.SummaryMetric(f"final/{measure}"))
            for knob in numbers
        ),
    ]
