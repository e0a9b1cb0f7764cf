"""How the W&B project is laid out: a workspace with a section for each measure, a report with one for each experiment.

Importing this needs wandb-workspaces; building asks nothing of a server as long as no entity is given.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from bn_repro.dashboard.contents import Contents, Shown
from bn_repro.dashboard.panels import (
    MEASURES,
    accuracy_panels,
    bias_panels,
    claim_panels,
    drift_panels,
    figure_panels,
    histogram_panels,
    in_rows,
    moving_panels,
    percentile_panels,
    score_panels,
    section_panels,
)
from bn_repro.dashboard.report_run import JOB_TYPE

NUM_OPEN = 3  # sections of the workspace; W&B loads the panels of a closed one when it is opened
MAX_RUNS = 50  # drawn in a panel
ABOUT = (
    "A reproduction of Ioffe & Szegedy 2015. Lines are means over an arm's seeds, bands run from the lowest to the highest seed. "
    "Gradient shift and landscape are defined as by Santurkar et al. 2018."
)


def build(entity: str, project: str, contents: Contents) -> tuple[ws.Workspace, wr.Report]:
    return build_workspace(entity, project, contents), build_report(entity, project, contents)


Build = Callable[[str], Sequence[ws.Workspace | wr.Report]]  # of an entity


def push(entity: str | None, build_of: Build) -> list[str]:
    """Make what is built in W&B, anew each time, and return its pages."""
    import wandb

    return [made.save().url for made in build_of(entity or wandb.Api().default_entity)]


def build_workspace(entity: str, project: str, contents: Contents) -> ws.Workspace:
    """Build the page of all runs of a tier, grouped by experiment and arm, with a section for each measure."""
    layers = {layer: each.percentiles for each in contents.experiments for layer in each.layers}
    named_by_records = {section for each in contents.experiments for section in each.sections}
    sections = {
        "Claims": claim_panels(),
        "Accuracy and loss": accuracy_panels(),
        **({"Scores of games": score_panels()} if any(each.has_scores for each in contents.experiments) else {}),
        "Percentiles by layer": [panel for layer, percentiles in layers.items() for panel in percentile_panels([layer], percentiles)],
        "Histograms by layer": histogram_panels(list(layers)),
        "Drift": moving_panels() + [panel for each in contents.experiments if each.layers for panel in drift_panels(each.experiment)],
        "Biases (section 2)": bias_panels(),
        **{title_of_section(section): section_panels(section) for section in [*MEASURES, *sorted(named_by_records - set(MEASURES))]},
        "Figures": figure_panels(contents.figures),
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Batch Normalization, tier {contents.tier}",
        sections=[ws.Section(name=name, panels=panels, is_open=place < NUM_OPEN) for place, (name, panels) in enumerate(sections.items())],
        settings=ws.WorkspaceSettings(x_axis="step", group_by_prefix="first", max_runs=MAX_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Config("tier") == contents.tier, expr.Metric("Group").isin(groups_of(contents))),
            groupby=[expr.Metric("Group"), expr.Config("arm")],
            pinned_columns=["summary:final/accuracy", "summary:eval/accuracy.max", "summary:final/steps", "summary:final/diverged"],
        ),
    )


def build_report(entity: str, project: str, contents: Contents) -> wr.Report:
    """Build the page that tells: the claims, the figures, then each experiment with its arms side by side."""

    def runs(name: str, *filters: Any, groupby: Sequence[str] = ("config.arm",)) -> wr.Runset:
        of_tier = expr.And(expr.Config("tier") == contents.tier, *filters)
        return wr.Runset(entity=entity, project=project, name=name, filters=of_tier, groupby=list(groupby))

    reported = runs("report", expr.Metric("JobType") == JOB_TYPE, groupby=())
    blocks: list[Any] = [wr.P(ABOUT), wr.TableOfContents(), wr.H2("Claims"), wr.PanelGrid(runsets=[reported], panels=claim_panels())]
    if contents.figures:
        blocks += [wr.H2("Figures"), wr.PanelGrid(runsets=[reported], panels=in_rows(figure_panels(contents.figures)))]
    for each in contents.experiments:
        mine = (expr.Metric("Group") == each.experiment, expr.Metric("JobType") == "train", expr.Config("arm").isin(list(each.arms)))
        blocks += [wr.H2(each.experiment), wr.PanelGrid(runsets=[runs(each.experiment, *mine)], panels=in_rows(experiment_panels(each)))]
        if each.layers:
            blocks += [wr.H3("Drift by layer"), wr.PanelGrid(runsets=[reported], panels=in_rows(drift_panels(each.experiment)))]
        for arm in each.arms if each.layers else ():
            of_arm = runs(arm, *mine, expr.Config("arm") == arm)
            blocks += [wr.H3(f"Histograms: {arm}"), wr.PanelGrid(runsets=[of_arm], panels=in_rows(histogram_panels(each.layers)))]
    title = f"Batch Normalization, claim by claim: tier {contents.tier}"
    return wr.Report(entity=entity, project=project, title=title, blocks=blocks, width="fluid")


def groups_of(contents: Contents) -> list[str]:
    """Name W&B's groups of the runs that are shown: the experiments' own, without a user's ablations, and the report's."""
    return [JOB_TYPE, *(each.experiment for each in contents.experiments)]


def experiment_panels(shown: Shown) -> list[Any]:
    panels = (score_panels() if shown.has_scores else accuracy_panels()) + percentile_panels(shown.layers, shown.percentiles)
    panels += moving_panels() if shown.layers else []
    panels += bias_panels() if shown.has_biases else []
    return panels + [panel for section in shown.sections for panel in section_panels(section)]


def title_of_section(section: str) -> str:
    return section.replace("_", " ").capitalize()


def outline(made: ws.Workspace | wr.Report) -> Iterator[str]:
    """Say in lines of text what would be made."""
    yield from of_workspace(made) if isinstance(made, ws.Workspace) else of_report(made)


def of_workspace(workspace: ws.Workspace) -> Iterator[str]:
    yield f"workspace '{workspace.name}'"
    for section in workspace.sections:
        yield from (f"  {section.name}", *(f"    {title_of(panel)}" for panel in section.panels))


def of_report(report: wr.Report) -> Iterator[str]:
    yield f"report '{report.title}'"
    for block in report.blocks:
        if isinstance(block, (wr.H2, wr.H3)):
            yield f"  {block.text}"
        elif isinstance(block, wr.PanelGrid):
            yield from (f"    {title_of(panel)}" for panel in block.panels)


def title_of(panel: Any) -> str:
    if isinstance(panel, wr.WeavePanelSummaryTable):
        return f"table '{panel.table_name}'"
    return panel.chart_strings["title"] if isinstance(panel, wr.CustomChart) else panel.title
