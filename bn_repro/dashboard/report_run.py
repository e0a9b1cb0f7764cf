"""How a report looks in Weights & Biases: one run with the claim table, every figure as an image, and the drift of every layer."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bn_repro.config import WandbConfig
from bn_repro.experiments.tracking import start_wandb
from bn_repro.measures.drift import INPUTS, drift_of_layer, layers_at
from bn_repro.records.record import Run, experiments_in, find_runs
from bn_repro.report.claim_table import VERDICTS, cells, headers
from bn_repro.report.report import Report
from bn_repro.verdicts.selection import NAME

JOB_TYPE = "report"
CLAIM_TABLE = "claims"
Rows = Sequence[Sequence[Any]]  # a header first


def log_report(report: Report, root: Path, settings: WandbConfig) -> str:
    """Log a report as one W&B run and return where it is: its page, or the folder of the offline run.

    Args:
        root: the records that the report was made from.
    """
    import wandb
    from PIL import Image

    address = f"{JOB_TYPE}/{report.tier}/{CLAIM_TABLE}"
    run = start_wandb(settings, settings.mode, address, {"tier": report.tier, "machines": list(report.machines)}, JOB_TYPE)
    logged: dict[str, Any] = {}
    for exhibit in report.exhibits:
        if exhibit.png:
            logged[figure_key(exhibit.name)] = wandb.Image(Image.open(io.BytesIO(exhibit.png)), caption=exhibit.figure.title)
    for name, (header, *rows) in report_tables(report, root).items():
        logged[name] = wandb.Table(columns=list(header), data=[list(row) for row in rows])
    run.log(logged)
    verdicts = [answer.verdict for answer in report.answers]
    run.summary.update({f"verdicts/{verdict}": verdicts.count(verdict) for verdict in VERDICTS})
    run.finish()
    return run.url if settings.mode == "online" else str(Path(run.dir).parent)


def report_tables(report: Report, root: Path) -> dict[str, Rows]:
    """Return every table of the W&B run by its name: the claims, those of the report, and an experiment's drift."""
    tables: dict[str, Rows] = {CLAIM_TABLE: claim_rows(report)}
    tables |= {f"tables/{exhibit.name}": exhibit.rows for exhibit in report.exhibits if exhibit.rows}
    for experiment in experiments_in(root, report.tier):
        rows = drift_rows(find_runs(root, experiment, report.tier))
        if len(rows) > 1:
            tables[drift_table(experiment)] = rows
    return tables


def figure_key(name: str) -> str:
    return f"figures/{name}"


def drift_table(experiment: str) -> str:
    return f"drift/{experiment}"


def claim_rows(report: Report) -> Rows:
    """Return a row for each claim: what the report shows, and the numbers as numbers."""
    header = ("id", "section", "group", *headers(report), "estimate", "low", "high", "rule", "runs")
    rows = []
    for answer in report.answers:
        numbers = (answer.as_dict()[name] for name in ("estimate", "low", "high"))
        finite = [value if value is not None and np.isfinite(value) else None for value in numbers]
        rows.append((answer.id, answer.section, answer.group, *cells(report, answer), *finite, answer.rule, ", ".join(answer.runs)))
    return [header, *rows]


def drift_rows(runs: Sequence[Run]) -> Rows:
    """Return how far each layer's input to the nonlinearity moves, means over an arm's seeds; a row for each arm and layer.

    Layers are numbered from 1 in the order of the network, for an axis; the measures are those of `claims.drift`.
    """
    found: dict[tuple[str, int, str], list[dict[str, float]]] = {}
    for run in runs:
        name = NAME.fullmatch(run.name)
        if name and len(run.activations.get("step", ())) > 1:
            for depth, layer in enumerate(layers_at(run.activations, INPUTS), start=1):
                found.setdefault((name["arm"], depth, layer), []).append(drift_of_layer(run.activations, f"{layer}/{INPUTS}"))
    measures = list(next(iter(found.values()))[0]) if found else []
    rows = [
        (arm, depth, layer, len(seeds), *(float(np.mean([seed[measure] for seed in seeds])) for measure in measures))
        for (arm, depth, layer), seeds in found.items()
    ]
    return [("arm", "depth", "layer", "n", *measures), *rows]
