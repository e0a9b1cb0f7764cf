"""What a report looks like on a terminal: the first table, or every claim, in lines."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bn_repro.report.claim_table import by_group, here, verdict
from bn_repro.report.headline import headline_rows
from bn_repro.report.report import Chapter, Report
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, PARTLY, REPRODUCED

COLUMNS_WITH_PAPER = 120  # from where on there is room for the paper's words
COLORS = {REPRODUCED: "green", PARTLY: "cyan", NOT_REPRODUCED: "red", INCONCLUSIVE: "yellow", NOT_RUN: "bright_black"}


def headline_table(report: Report, columns: int) -> Table:
    """Return the first table, one line a row; where columns are few, without the paper's words, and numbers end early."""
    rows = headline_rows(report)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("verdict", no_wrap=True, min_width=max(len(row.verdict) for row in rows))
    table.add_column("claim", no_wrap=True, min_width=max(len(row.says) for row in rows))
    table.add_column("here [95 % interval]", no_wrap=True)
    if columns >= COLUMNS_WITH_PAPER:
        table.add_column("the paper", no_wrap=True)
    for row in rows:
        cells = (Text(row.verdict, COLORS[row.verdict]), Text(row.says), Text(row.here), Text(row.paper))
        table.add_row(*cells[: len(table.columns)])
    return table


def chapter_lines(chapter: Chapter, answers: Sequence[Answer]) -> Group:
    """Return a study's answer in words, and below it those of its claims that are to be shown."""
    return Group(Text(f"{chapter.study.title}: {chapter.in_words}", "bold"), claim_lines(answers))


def claim_lines(answers: Sequence[Answer]) -> Table:
    """Return a line or two for each claim below the words of its group: verdict, statement, our number and what is claimed."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    for group, members in by_group(answers).items():
        if group:
            lines.add_row("", Text(group, "italic"))
        for answer in members:
            decides = verdict(answer).removeprefix(answer.verdict)
            numbers = "" if answer.verdict == NOT_RUN else f": {here(answer)}, n = {answer.n}{decides}"
            lines.add_row(Text(answer.verdict, COLORS[answer.verdict]), Text(f"{answer.says}{numbers}; claimed: {answer.paper}"))
    return lines
