"""What a report looks like as files: claims, a text, a page and figures; pure functions of it, the same bytes each time."""

from collections.abc import Iterator
from pathlib import Path

from bn_repro.records import files
from bn_repro.report.claim_table import by_group, cells, counted, headers, markdown_table
from bn_repro.report.comparison import compared
from bn_repro.report.headline import headline_rows
from bn_repro.report.report import Chapter, Report
from bn_repro.report.statements import HOW_TO_READ, controls, evidence, false_discoveries, left_out
from bn_repro.report.web_page import as_html
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import NOT_RUN


def report_files(report: Report) -> dict[str, bytes]:
    """Return every file of the report, by its name in the report's folder."""
    content = {
        files.CLAIMS: files.as_json([answer.as_dict() for answer in report.answers]),
        files.REPORT_TEXT: as_markdown(report).encode(),
        files.REPORT_PAGE: as_html(report).encode(),
    }
    for exhibit in report.exhibits:
        if exhibit.svg:
            content[f"{files.FIGURES}/{exhibit.name}.svg"] = exhibit.svg
    return content


def write_report(report: Report, folder: Path) -> Path:
    """Write every file of the report into a folder and return the page's path."""
    for name, content in report_files(report).items():
        files.write_atomically(folder / name, content)
    return folder / files.REPORT_PAGE


def as_markdown(report: Report) -> str:
    shown = [chapter for chapter in report.chapters if not chapter.is_empty]
    empty = [chapter.study.title for chapter in report.chapters if chapter.is_empty]
    lines = [
        f"# Batch Normalization, claim by claim: tier `{report.tier}`",
        "",
        f"{counted([answer for chapter in shown for answer in chapter.answered]) or 'No claim has runs'}.",
        *(f"- [{chapter.study.title}](#{slug(chapter.study.title)})" for chapter in shown),
    ]
    lines = [*lines[:3], "", *lines[3:], "", *headline_table(report), "", HOW_TO_READ, ""]
    lines += [sentence for sentence in (false_discoveries(report.answers), controls(report.answers)) if sentence]
    for statement in (compared(report.answers, report.published), left_out(report.left_out)):
        lines += ["", statement] if statement else []
    for chapter in shown:
        lines += ["", *chapter_in_markdown(report, chapter)]
    lines += ["", f"Not run in this tier: {', '.join(empty)}."] if empty else []
    lines += ["", "## Rules", ""]
    lines += [f"- `{answer.id}`: {evidence(answer)}" for answer in report.answers]
    lines += ["", "## Made with", "", *(f"- {machine}" for machine in report.machines)]
    return "\n".join(lines) + "\n"


def slug(title: str) -> str:
    """Return the name that a heading of a Markdown text has as the target of a link."""
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def headline_table(report: Report, place: str = "") -> list[str]:
    """Return the first table, each verdict linked to its study's place in a report's text."""
    rows = [("claim", "the paper", "here [95 % interval]", "verdict")]
    for row in headline_rows(report):
        link = f"[{row.verdict}]({place}#{slug(row.study.title)})" if row.study and row.verdict != NOT_RUN else row.verdict
        rows.append((row.says, row.paper, row.here, link))
    return markdown_table(rows)


def chapter_in_markdown(report: Report, chapter: Chapter) -> Iterator[str]:
    study = chapter.study
    yield from (f"## {study.title}", "", f"*{study.question}* (section {study.sections})", "")
    if chapter.answered or not study.claims:
        yield from (chapter.in_words, "")
    if chapter.answered:
        rows = [headers(report)]
        for group, answers in by_group(chapter.answered):
            rows += [(f"**{group}**", *[""] * (len(rows[0]) - 1))] if group else []
            rows += [in_a_row(report, answer) for answer in answers]
        yield from (*markdown_table(rows), "")
    not_run = [answer.id for answer in chapter.answers if answer not in chapter.answered]
    if not_run:
        yield from (f"Not run in this tier: {', '.join(f'`{id}`' for id in not_run)}.", "")
    for exhibit in chapter.exhibits:
        shown = markdown_table(exhibit.rows) if exhibit.rows else [f"![{exhibit.figure.alt}]({files.FIGURES}/{exhibit.name}.svg)"]
        yield from (f"### {exhibit.figure.title}", "", *shown, "", exhibit.caption, "", f"`{exhibit.command}`", "")


def in_a_row(report: Report, answer: Answer) -> tuple[str, ...]:
    says, *others = cells(report, answer)
    return (f"{says} *(changed after a look: {answer.after_look})*" if answer.after_look else says, *others)
