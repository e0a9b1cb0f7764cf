"""What a report looks like on a terminal: the first table, or every claim, in lines."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bn_repro.report.claim_table import here, verdict
from bn_repro.report.headline import headline_rows
from bn_repro.report.report import Chapter, Report
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, PARTLY, REPRODUCED

COLUMNS_WITH_PAPER = 120
COLORS = {REPRODUCED: "green", PARTLY: "cyan", NOT_REPRODUCED: "red", INCONCLUSIVE: "yellow", NOT_RUN: "bright_black"}


def headline_table(report: Report, columns: int) -> Table:
    """Return the first table, one line a row; where there are few columns, without the paper's words."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    has_paper = columns >= COLUMNS_WITH_PAPER
    for name in ("claim", *(("the paper",) if has_paper else ()), "here [95 % interval]", "verdict"):
        table.add_column(name, no_wrap=True)
    for row in headline_rows(report):
        paper = (Text(row.paper),) if has_paper else ()
        table.add_row(Text(row.says), *paper, Text(row.here), Text(row.verdict, COLORS[row.verdict]))
    return table


def chapter_lines(chapter: Chapter) -> Group:
    """Return a study's answer, and below it its claims."""
    return Group(Text(f"{chapter.study.title}: {chapter.in_words}", "bold"), claim_lines(chapter.answered))


def claim_lines(answers: Sequence[Answer]) -> Table:
    """Return a line or two for each claim: verdict, statement, ours and the paper's."""
    lines = Table.grid(padding=(0, 2))
    for answer in answers:
        words = verdict(answer).removeprefix(answer.verdict)
        numbers = "" if answer.verdict == NOT_RUN else f": {here(answer)}, n = {answer.n}{words}"
        group = f"{answer.group}: " if answer.group else ""
        lines.add_row(
            Text(answer.verdict, COLORS[answer.verdict], no_wrap=True), Text(f"{group}{answer.says}{numbers}; the paper: {answer.paper}")
        )  # fmt: skip
    return lines
