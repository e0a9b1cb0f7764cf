"""The report is a pure function of records: the same bytes, every claim that has runs, every figure, nothing fetched."""

import dataclasses
import html.parser
import json
import math
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

from bn_repro.records import files
from bn_repro.report.claim_table import HEADERS, cells, headers, verdict
from bn_repro.report.page import as_markdown, report_files, slug, write_report
from bn_repro.report.report import NO_RUNS, SOME_RUNS, build_report
from bn_repro.report.statements import sections
from bn_repro.report.web_page import as_html, chip, html_cell
from bn_repro.studies import CLAIMS, STUDIES
from bn_repro.studies.study import Study
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_RUN


@pytest.fixture(scope="module")
def content(report):
    return report_files(report)


@pytest.fixture(scope="module")
def text(content):
    return content[files.REPORT_TEXT].decode()


@pytest.fixture(scope="module")
def page(content):
    return content[files.REPORT_PAGE].decode()


def changed(report, id, **changes):
    """Return a report with one answer changed."""

    def chapter_of(chapter):
        answers = [dataclasses.replace(answer, **changes) if answer.id == id else answer for answer in chapter.answers]
        return dataclasses.replace(chapter, answers=answers)

    return dataclasses.replace(report, chapters=[chapter_of(chapter) for chapter in report.chapters])


def test_same_records_same_bytes(root, tmp_path):
    studies = [study for study in STUDIES if study.name in ("inception", "sigmoid_network")]
    content = report_files(build_report(root, "quick", None, studies))
    written = write_report(build_report(root, "quick", None, studies), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in content} == content and len(content) > 6
    assert written == tmp_path / files.REPORT_PAGE


def test_claims_json_has_every_claim_with_the_stated_fields(content):
    rows = json.loads(content[files.CLAIMS])
    assert [row["id"] for row in rows] == [claim.id for claim in CLAIMS]
    stated = {"id", "section", "says", "group", "tier", "paper", "estimate", "low", "high", "unit", "n", "q", "verdict", "control_verdict"}
    assert all(stated <= set(row) for row in rows)
    assert "inception/quick/inception-s0" in rows[0]["runs"]


class Ids(html.parser.HTMLParser):
    """Collect the targets of a page, the links to them, its open tags, and images without words."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.links, self.open, self.silent = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.silent += [values] if tag == "img" and not values.get("alt") else []
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_no_other_file_and_its_links_arrive(page):
    found = Ids(page)
    assert not found.open and not found.silent and "<script" not in page
    assert len(found.ids) == len(set(found.ids))
    assert found.links and {link[:1] for link in found.links} == {"#"} and {link[1:] for link in found.links} <= set(found.ids)
    without_figures = re.sub(r'src="data:[^"]*"', "", page)
    assert not re.search(r"url\(|@import|src=|https?:", without_figures)


def test_every_study_has_its_place_with_question_answer_and_claims(report, text, page):
    for chapter in report.chapters:
        place = page.split(f'<section id="{chapter.study.name}">')
        if chapter.is_empty:
            assert len(place) == 1
            continue
        assert f"](#{slug(chapter.study.title)})" in text and f"\n## {chapter.study.title}\n" in text
        assert chapter.study.question in text and chapter.in_words in text and len(place) == 2
        for answer in chapter.answered:
            assert f'id="{answer.id}"' in place[1]


def test_a_group_is_named_once(report, text):
    groups = {answer.group for answer in report.answers if answer.group and answer.verdict != NOT_RUN}
    assert groups and all(text.count(f"**{group}**") == 1 for group in groups)


def test_figures_are_svg_and_stand_in_text_and_page(content, text, page):
    figures = [name for name in content if name.endswith(".svg")]
    assert {"figure-1a", "figure-1bc-best", "figure-2", "lr-sweep", "section-2"} <= {Path(name).stem for name in figures}
    assert len(figures) == page.count("<img ")
    for name in figures:
        xml.etree.ElementTree.fromstring(content[name])
        assert f"]({name})" in text


def test_figure_3_is_a_table_with_the_papers_numbers(text, page):
    (row,) = [line for line in text.splitlines() if line.startswith("| BN-x30 | ")]
    assert "| 2.7 million | 11.5 | 74.8 |" in row and "<td>2.7 million</td><td>11.5</td><td>74.8</td>" in page


def test_captions_say_n_and_command(text):
    assert "with BN: n = 6" in text
    assert "./scripts/reproduce.sh --tier quick --only faulty_norm`" in text


def test_columns_and_what_would_decide(report):
    answer = next(answer for answer in report.answers if answer.verdict != NOT_RUN)
    assert dict(zip(HEADERS, cells(report, answer)))["verdict"] == answer.verdict
    unclear = dataclasses.replace(answer, verdict=INCONCLUSIVE, seeds_needed=17)
    assert verdict(unclear) == "INCONCLUSIVE; 17 seeds would decide"
    assert verdict(dataclasses.replace(unclear, n=3)) == "INCONCLUSIVE; a pilot: 17 seeds would decide"
    assert (
        verdict(dataclasses.replace(unclear, seeds_needed=None)) == "INCONCLUSIVE; more than 200 seeds, or more test examples, would decide"
    )
    of_games = dataclasses.replace(unclear, seeds_needed=None, runs=["policy_diversity/quick/none-s300,game.name=pong"])
    assert verdict(of_games) == "INCONCLUSIVE; more than 200 seeds, or more games, would decide"
    for unknown in ({"estimate": None}, {"high": math.inf}):
        censored = dataclasses.replace(unclear, seeds_needed=None, **unknown)
        assert verdict(censored) == "INCONCLUSIVE; a wider grid, or longer runs, would decide"


def test_published_is_a_column_only_where_there_is_something_to_compare_with(root, report, text, tmp_path):
    assert "| published |" not in text
    write_report(report, tmp_path)
    beside = build_report(root, "quick", tmp_path, has_figures=False)
    assert headers(beside) == (*HEADERS, "published")
    answer = next(answer for answer in beside.answers if answer.verdict != NOT_RUN)
    assert cells(beside, answer)[-1].endswith(f"n = 6: {answer.verdict}")
    assert "equal to the published numbers within 1e-09" in as_markdown(beside)


def test_claims_without_runs_are_in_no_table_but_named(root, report, text, page):
    not_run = [answer.id for answer in report.answers if answer.verdict == NOT_RUN]
    assert not_run and all(f"`{id}`" in text and f'id="{id}"' not in page for id in not_run)


def test_what_was_changed_after_a_look_says_so(report):
    answer = next(answer for answer in report.answers if answer.verdict != NOT_RUN)
    looked = changed(report, answer.id, after_look="the target was the <maximum>", rule_commit="0123456789abcdef")
    assert "changed after a look: the target was the <maximum>" in as_markdown(looked)
    assert "changed after a look: the target was the &lt;maximum&gt;" in as_html(looked)
    assert "last changed in commit 0123456789ab;" in as_markdown(looked)


def test_a_tier_without_records_says_so(tmp_path):
    content = report_files(build_report(tmp_path, "gpu", None))
    assert "No claim has runs." in content[files.REPORT_TEXT].decode() and "No claim has runs." in content[files.REPORT_PAGE].decode()
    Ids(content[files.REPORT_PAGE].decode())


def test_a_new_study_is_one_more_chapter(root):
    """Nothing but the list of studies knows it."""
    known = next(claim for claim in CLAIMS if claim.id == "fig1-accuracy-common")
    claim = dataclasses.replace(known, id="made-up", group="", says="A made-up claim", headline="Made-up: fewer steps")
    made_up = Study(
        name="made_up", title="A made-up study", sections="4.1", question="Does it show?", experiments=tuple(claim.experiments),
        claims=(claim,), figures=(), in_words=lambda answers: f"It says {answers['made-up'].verdict}.",
    )  # fmt: skip
    report = build_report(root, "quick", None, (*STUDIES[:1], made_up), has_figures=False)
    text = as_markdown(report)
    assert "## A made-up study" in text and "It says " in text and "| A made-up claim |" in text and "| Made-up: fewer steps |" in text
    assert '<section id="made_up">' in as_html(report)


def test_no_chapter_with_verdicts_says_that_there_are_no_runs(report):
    (chapter,) = (chapter for chapter in report.chapters if chapter.study.name == "sigmoid_network")
    silent = dataclasses.replace(chapter, study=dataclasses.replace(chapter.study, in_words=lambda answers: ""))
    assert chapter.answered and silent.in_words == SOME_RUNS
    without = dataclasses.replace(silent, answers=[dataclasses.replace(answer, verdict=NOT_RUN) for answer in chapter.answers])
    assert without.in_words == NO_RUNS


def test_a_study_of_another_paper_names_it():
    of_the_paper, of_another = (dataclasses.replace(STUDIES[0], sections=sections_) for sections_ in ("3.1, 3.3", "ULMFiT"))
    assert (sections(of_the_paper), sections(of_another)) == ("Sections 3.1, 3.3", "ULMFiT")


def test_a_verdict_in_a_cell_is_shown_as_in_the_claim_table():
    assert html_cell("NOT REPRODUCED: 0.9 < 1") == f"{chip('NOT REPRODUCED')} 0.9 &lt; 1"
    assert html_cell("said: <b>") == "said: &lt;b&gt;" and html_cell("REPRODUCED") == "REPRODUCED"
