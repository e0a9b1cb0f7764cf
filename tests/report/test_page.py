"""The report is a pure function of records: the same bytes, every claim, every figure, nothing fetched."""

import json
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest
from made_up_records import MadeUp, percentiles_moving, write, write_tier
from made_up_trainings import write_inception_tier

from bn_repro.records import files
from bn_repro.report.page import report_files, write_report
from bn_repro.report.report import build_report
from bn_repro.report.web_page import chip, html_cell
from bn_repro.studies.claims import CLAIMS


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_tier(root, "quick")
    write_inception_tier(root, "quick")
    for arm in ("outside_gradient_center", "outside_gradient", "batch", "none"):
        for seed in range(2):
            numbers = MadeUp([0.1] * 5, percentiles_moving(1), bias_norms=(0, 1, 2, 3, 4 + seed), losses=(2.3, 2.3, 2.3, 2.3, 2.3))
            write(root, f"faulty_norm/quick/{arm}-s{seed}", numbers)
    return root


def test_same_records_same_bytes(root, tmp_path):
    first, second = (report_files(build_report(root, "quick", None)) for _ in range(2))
    assert first == second
    page = write_report(build_report(root, "quick", None), tmp_path)
    assert page.read_bytes() == first[files.REPORT_PAGE]


def test_claims_json_has_every_claim_with_the_stated_fields(root):
    rows = json.loads(report_files(build_report(root, "quick", None))[files.CLAIMS])
    assert [row["id"] for row in rows] == [claim.id for claim in CLAIMS]
    stated = {"id", "section", "statement", "tier", "paper", "estimate", "low", "high", "unit", "n", "verdict", "control_verdict", "runs"}
    assert all(stated <= set(row) for row in rows)
    assert "mnist_sigmoid/quick/batch-s0" in rows[0]["runs"]


def test_page_is_self_contained_and_figures_are_svg(root):
    content = report_files(build_report(root, "quick", None))
    page = content[files.REPORT_PAGE].decode()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    figures = [name for name in content if name.endswith(".svg")]
    assert {Path(name).stem for name in figures} == {
        *("figure-1a", "figure-1bc", "figure-1a-best", "figure-1bc-best", "figure-2", "figure-2-paper", "lr-sweep", "section-2")
    }
    for name in figures:
        xml.etree.ElementTree.fromstring(content[name])
        assert name in content[files.REPORT_TEXT].decode()
    for claim in CLAIMS:
        assert f'id="{claim.id}"' in page


def test_figure_3_is_a_table_with_the_papers_numbers(root):
    content = report_files(build_report(root, "quick", None))
    rows = [line for line in content[files.REPORT_TEXT].decode().splitlines() if line.startswith("| BN-x30 | ")]
    assert len(rows) == 2 and all("| 2.7 million | 74.8 |" in row for row in rows)
    assert "<td>2.7 million</td><td>74.8</td>" in content[files.REPORT_PAGE].decode()
    diverged = next(line for line in content[files.REPORT_TEXT].decode().splitlines() if line.startswith("| Inception at x5 | "))
    assert "| never | 10.0 [10.0, 10.0]; 3 of 3 reached infinity |" in diverged


def test_captions_say_n_and_command(root):
    text = report_files(build_report(root, "quick", None))[files.REPORT_TEXT].decode()
    assert "with BN: n = 3" in text
    assert "./scripts/reproduce.sh --tier quick --only faulty_norm" in text


def test_published_numbers_stand_beside_ours(root, tmp_path):
    write_report(build_report(root, "quick", None), tmp_path)
    text = report_files(build_report(root, "quick", tmp_path))[files.REPORT_TEXT].decode()
    row = next(line for line in text.splitlines() if "ends with the higher test accuracy (no momentum" in line)
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[4] == f"{cells[5]}, n=3"


def test_a_tier_without_records_is_reported_as_not_run(tmp_path):
    report = build_report(tmp_path, "gpu", None)
    assert f"{len(CLAIMS)} NOT RUN" in report_files(report)[files.REPORT_TEXT].decode()


def test_a_verdict_in_a_cell_is_shown_as_in_the_claim_table():
    assert html_cell("NOT REPRODUCED: 0.9 < 1") == f"{chip('NOT REPRODUCED')} 0.9 &lt; 1"
    assert html_cell("said: <b>") == "said: &lt;b&gt;" and html_cell("REPRODUCED") == "REPRODUCED"
