"""Does the W&B run of a report hold its claims, its figures and the drift of its records?"""

import dataclasses
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from made_up_records import write_tier
from PIL import Image

from bn_repro.config import WandbConfig
from bn_repro.dashboard.report_run import log_report, report_tables
from bn_repro.measures.drift import drift
from bn_repro.records.record import Run
from bn_repro.report.report import build_report
from bn_repro.studies import CLAIMS
from bn_repro.verdicts.rules import REPRODUCED


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_tier(root, "quick")
    return root


@pytest.fixture(scope="module")
def report(root):
    return build_report(root, "quick", None)


def test_claim_table_has_the_numbers_as_numbers(report, root):
    header, *rows = report_tables(report, root)["claims"]
    assert len(rows) == len(CLAIMS)
    row, answer = next(
        (row, answer) for row, answer in zip(rows, report.answers) if answer.verdict == REPRODUCED and answer.control_verdict
    )
    first = dict(zip(header, row))
    assert (first["id"], first["paper"], first["verdict"], first["control"]) == (
        answer.id, answer.paper, answer.verdict, answer.control_verdict,
    )  # fmt: skip
    assert first["estimate"] == pytest.approx(answer.estimate) and first["n"] == "6" and answer.runs[0] in first["runs"]
    not_run = next(dict(zip(header, row)) for row in rows if row[header.index("verdict")] == "NOT RUN")
    assert not_run["estimate"] is None and not_run["low"] is None


def test_drift_is_the_mean_over_seeds_of_the_claims_measure(report, root):
    tables = report_tables(report, root)
    header, *rows = tables["drift/mnist_sigmoid"]
    assert set(tables) == {"claims", "drift/mnist_sigmoid", "drift/mnist_best"}
    found = {row[0]: dict(zip(header, row)) for row in rows}
    seeds = {"none": [*range(6), *range(10, 16)], "batch": range(6)}
    assert {(arm, row["layer"], row["depth"], row["n"]) for arm, row in found.items()} == {
        (arm, "hidden.2", 1, len(seeds[arm])) for arm in seeds
    }
    for arm in seeds:
        each = [drift(Run(root / f"mnist_sigmoid/quick/{arm}-s{seed}").activations, "after_norm") for seed in seeds[arm]]
        for measure in each[0]:
            assert found[arm][measure] == pytest.approx(np.mean([seed[measure][0] for seed in each]))


def test_offline_run_reads_back(report, root, tmp_path):
    drawn = next(chapter for chapter in report.chapters if chapter.exhibits)
    small = dataclasses.replace(drawn, exhibits=drawn.exhibits[:1])
    report = dataclasses.replace(
        report, chapters=[small if chapter is drawn else dataclasses.replace(chapter, exhibits=()) for chapter in report.chapters]
    )
    folder = log_report(report, root, WandbConfig("offline", "bn-repro", None, str(tmp_path)))
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", folder]
    said = subprocess.run(command, cwd=tmp_path, env=os.environ | {"WANDB_DIR": str(tmp_path)}, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in said.stdout.splitlines()]
    (described,) = [record["run"] for record in records if record["type"] == "run"]
    assert (described["job_type"], described["run_id"], described["tags"]) == ("report", "report-quick-claims", ["quick"])
    (row,) = [record["history"]["item"] for record in records if record["type"] == "history"]
    kinds = {name.removesuffix("._type"): kind for name, kind in row.items() if name.endswith("._type")}
    drawn = {f"figures/{exhibit.name}" for exhibit in report.exhibits if exhibit.svg}
    assert drawn and {name for name, kind in kinds.items() if kind == "image-file"} == drawn
    assert {name for name, kind in kinds.items() if kind == "table-file"} == set(report_tables(report, root))
    summary = {}
    for record in records:
        summary |= record["summary"]["update"] if record["type"] == "summary" else {}
    assert summary["verdicts/NOT RUN"] == sum(answer.verdict == "NOT RUN" for answer in report.answers)


def test_png_and_svg_are_of_one_figure(report):
    exhibit = next(exhibit for exhibit in report.exhibits if exhibit.svg)
    before = exhibit.svg
    image = Image.open(io.BytesIO(exhibit.png))
    assert image.format == "PNG" and image.width > 1000
    assert dataclasses.replace(exhibit).svg == before
