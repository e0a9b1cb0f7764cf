"""Does the first table keep to one line a row at any width?"""

import io

import pytest
from rich.console import Console

from bn_repro.report.headline import headline_rows
from bn_repro.report.terminal import chapter_lines, headline_table


def printed(content, columns):
    console = Console(width=columns, file=io.StringIO())
    console.print(content)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [80, 110, 160])
def test_one_line_a_row(report, columns):
    header, *lines = printed(headline_table(report, columns), columns)
    rows = headline_rows(report)
    assert len(lines) == len(rows) and max(map(len, lines)) <= columns
    for line, row in zip(lines, rows):
        assert line.startswith(row.verdict) and row.says in line and (row.here in line or columns == 80)
    assert ("the paper" in header) == (columns >= 120)


def test_a_group_is_named_once_above_its_claims(report):
    chapter = next(chapter for chapter in report.chapters if any(answer.group for answer in chapter.answered))
    lines = printed(chapter_lines(chapter, chapter.answered), 100)
    for group in {answer.group for answer in chapter.answered}:
        assert sum(line.strip() == group for line in lines) == 1
