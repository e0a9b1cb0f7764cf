"""How answers are written as cells, the same on a page, in a text and on a terminal."""

import math
from collections import Counter
from collections.abc import Sequence

from bn_repro.report.report import Report
from bn_repro.verdicts.claim import ADDED_LATER
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.numbers import number, with_interval
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, PARTLY, REPRODUCED
from bn_repro.verdicts.statistics import MOST_SEEDS, PILOT_BELOW

VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN)
HEADERS = ("claim", "paper", "here [95 % interval]", "n", "q", "verdict", "control")
OPEN = "a wider grid, or longer runs, would decide"
PUBLISHED = "published"  # a further column, where there is something to compare with


def headers(report: Report) -> tuple[str, ...]:
    return (*HEADERS, PUBLISHED) if report.published else HEADERS


def cells(report: Report, answer: Answer) -> tuple[str, ...]:
    """Return what stands below `headers`."""
    shown = (
        answer.says, answer.paper, here(answer), str(answer.n), number(answer.q), verdict(answer), answer.control_verdict or "none",
    )  # fmt: skip
    if not report.published:
        return shown
    row = report.published.get(answer.id)
    return (*shown, f"{with_interval(row)}, n = {row['n']}: {row['verdict']}" if row and row["n"] else "-")


def here(answer: Answer) -> str:
    """Write the estimate with its interval and unit."""
    return with_interval(answer.as_dict(), answer.unit)


def verdict(answer: Answer) -> str:
    """Write the verdict; an INCONCLUSIVE one says what would decide it."""
    return f"{answer.verdict}; {what_decides(answer)}" if answer.verdict == INCONCLUSIVE else answer.verdict


def looked(answer: Answer) -> str:
    """Say what was changed after a look at the runs; empty if nothing was."""
    return answer.after_look if answer.after_look in ("", ADDED_LATER) else f"changed after a look: {answer.after_look}"


def what_decides(answer: Answer) -> str:
    pilot = "a pilot: " if answer.n < PILOT_BELOW else ""
    if answer.seeds_needed is not None:
        return f"{pilot}{answer.seeds_needed} seeds would decide"
    is_known = all(number is not None and math.isfinite(number) for number in (answer.estimate, answer.low, answer.high))
    others = "games" if any("game.name=" in address for address in answer.runs) else "test examples"
    return f"{pilot}more than {MOST_SEEDS} seeds, or more {others}, would decide" if is_known else f"{pilot}{OPEN}"


def by_group(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Gather the answers whose claims share words, groups in order of their first claim."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.group, []).append(answer)
    return groups


def counted(answers: Sequence[Answer]) -> str:
    """Count the verdicts, as `3 REPRODUCED, 1 PARTLY, 2 NOT RUN`."""
    counts = Counter(answer.verdict for answer in answers)
    if counts[NOT_RUN] == len(answers):
        return "No claim has runs"
    return ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the first row is its header."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]
