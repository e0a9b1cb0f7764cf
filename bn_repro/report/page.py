"""What a report looks like as files: claims, a text, a page and figures; pure functions of it, the same bytes each time."""

from pathlib import Path

from bn_repro.records import files
from bn_repro.report.claim_table import HEADERS, columns, headline, markdown_table
from bn_repro.report.report import Report
from bn_repro.report.web_page import HOW_TO_READ, as_html


def report_files(report: Report) -> dict[str, bytes]:
    """Return every file of the report, by its name in the report's folder."""
    content = {
        files.CLAIMS: files.as_json([answer.as_dict() for answer in report.answers]),
        files.REPORT_TEXT: as_markdown(report).encode(),
        files.REPORT_PAGE: as_html(report).encode(),
    }
    for section in report.sections:
        if section.svg:
            content[f"{files.FIGURES}/{section.name}.svg"] = section.svg
    return content


def write_report(report: Report, folder: Path) -> Path:
    """Write every file of the report into a folder and return the page's path."""
    for name, content in report_files(report).items():
        files.write_atomically(folder / name, content)
    return folder / files.REPORT_PAGE


def as_markdown(report: Report) -> str:
    lines = [
        f"# Batch Normalization, claim by claim: tier `{report.tier}`",
        "",
        f"{len(report.answers)} claims: {headline(report)}.",
        "",
        HOW_TO_READ,
        "",
        *markdown_table([HEADERS, *(columns(report, answer) for answer in report.answers)]),
    ]
    for section in report.sections:
        lines += [
            "",
            f"## {section.title}",
            "",
            *(markdown_table(section.table) if section.table else [f"![{section.title}]({files.FIGURES}/{section.name}.svg)"]),
            "",
            section.caption,
            "",
            f"`{section.command}`",
        ]
    lines += ["", "## Rules", ""]
    lines += [f"- `{answer.id}`: {answer.rule}" for answer in report.answers]
    lines += ["", "## Made with", ""]
    lines += [f"- {machine}" for machine in report.machines]
    return "\n".join(lines) + "\n"
