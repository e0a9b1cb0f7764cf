"""What a report looks like as files: claims, a text, a page and figures; pure functions of it, the same bytes each time."""

from collections.abc import Iterator
from pathlib import Path

from bn_repro.records import files
from bn_repro.report.claim_table import by_group, cells, counted, headers, looked, markdown_table
from bn_repro.report.headline import headline_rows
from bn_repro.report.report import Chapter, Report
from bn_repro.report.statements import about, evidence, sections
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
    empty = ", ".join(chapter.study.title for chapter in report.chapters if chapter.is_empty)
    blocks = [
        f"# Batch Normalization, claim by claim: tier `{report.tier}`",
        f"{counted(report.answers)}.",
        "\n".join(f"- [{chapter.study.title}](#{slug(chapter.study.title)})" for chapter in shown),
        "\n".join(headline_table(report)),
        *about(report),
        *(block for chapter in shown for block in chapter_in_markdown(report, chapter)),
        f"## Not run in this tier\n\n{empty}." if empty else "",
        "## Rules",
        "\n".join(f"- `{answer.id}`: {evidence(answer)}" for answer in report.answers),
        "## Made with",
        "\n".join(f"- {machine}" for machine in report.machines),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


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
    yield from (f"## {study.title}", f"*{study.question}* {sections(study)}.")
    if chapter.answered or not study.claims:
        yield chapter.in_words
    if chapter.answered:
        rows = [headers(report)]
        for group, answers in by_group(chapter.answered).items():
            rows += [(f"**{group}**", *[""] * (len(rows[0]) - 1))] if group else []
            rows += [in_a_row(report, answer) for answer in answers]
        yield "\n".join(markdown_table(rows))
    if chapter.not_run:
        yield f"Not run in this tier: {', '.join(f'`{answer.id}`' for answer in chapter.not_run)}."
    for exhibit in chapter.exhibits:
        yield f"### {exhibit.figure.title}"
        yield "\n".join(markdown_table(exhibit.rows)) if exhibit.rows else f"![{exhibit.figure.alt}]({files.FIGURES}/{exhibit.name}.svg)"
        yield from (exhibit.caption, f"`{exhibit.command}`")


def in_a_row(report: Report, answer: Answer) -> tuple[str, ...]:
    says, *others = cells(report, answer)
    return (f"{says} *({looked(answer)})*" if answer.after_look else says, *others)
