"""How claims are written as rows: for a terminal, for the README, and cell by cell for the pages."""

from collections import Counter
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bn_repro.report.numbers import with_interval
from bn_repro.report.report import Report
from bn_repro.report.shift_section import DEFINITIONS
from bn_repro.studies.covariate_shift import COVARIATE_SHIFT
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, PARTLY, REPRODUCED

VERDICT_COLORS = {
    REPRODUCED: ("green", "#0B6E3B"),
    PARTLY: ("cyan", "#1F5FA8"),
    NOT_REPRODUCED: ("red", "#A8261C"),
    INCONCLUSIVE: ("yellow", "#7A5A00"),
    NOT_RUN: ("bright_black", "#666666"),
}


def columns(report: Report, answer: Answer) -> tuple[str, ...]:
    """Return section, claim, the paper's number, the published one, ours, unit, n, verdict, control."""
    row = answer.as_dict()
    beside = report.published.get(answer.id)
    published = f"{with_interval(beside)}, n={beside['n']}" if beside and beside["n"] else "-"
    return (
        answer.section, answer.statement, answer.paper, published, with_interval(row), answer.unit,
        str(answer.n), answer.verdict, answer.control_verdict,
    )  # fmt: skip


HEADERS = ("section", "claim", "paper", "published", "here", "unit", "n", "verdict", "control")


def as_terminal_table(report: Report, ids: set[str] | None = None) -> Table:
    """Return the claim table for a terminal of 80 columns or more; `ids` picks claims."""
    table = Table(title=f"Claims, tier {report.tier}", title_justify="left", show_lines=True, pad_edge=False, expand=True)
    table.add_column("claim", ratio=6)
    table.add_column("numbers", ratio=7)
    table.add_column("verdict", width=18)
    for answer in report.answers:
        if ids is None or answer.id in ids:
            section, statement, paper, published, here, unit, n, verdict, control = columns(report, answer)
            numbers = f"paper      {paper}\npublished  {published}\nhere       {here}" + (f" {unit}, n={n}" if answer.n else "")
            colors = [VERDICT_COLORS[word][0] for word in (verdict, control)]
            verdicts = f"[bold {colors[0]}]{verdict}[/]\n[dim]control:\n{control}[/]"
            table.add_row(escape(f"{section}  {statement}"), escape(numbers), verdicts)
    return table


def as_terminal_lines(report: Report) -> Table:
    """Return a line or two for each claim: verdict, statement, ours and the paper's."""
    lines = Table.grid(padding=(0, 2))
    for answer in report.answers:
        row = answer.as_dict()
        numbers = f"{with_interval(row)} {answer.unit}, n={answer.n}; the paper: {answer.paper}"
        lines.add_row("", Text(answer.verdict, VERDICT_COLORS[answer.verdict][0]), escape(f"{answer.statement}: {numbers}"))
    return lines


def headline(report: Report, ids: set[str] | None = None) -> str:
    """Count the verdicts, of all claims or of those picked by `ids`."""
    counts = Counter(answer.verdict for answer in report.answers if ids is None or answer.id in ids)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICT_COLORS if counts[verdict])


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the first row is its header."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]


def as_readme_table(report: Report) -> str:
    """Return the short claim table that the README shows, and below it the definitions of covariate shift side by side."""
    rows = [("claim", "the paper", "here", "n", "verdict")]
    aside = {claim.id for claim in COVARIATE_SHIFT}
    for answer in report.answers:
        if answer.id not in aside:
            here = f"{with_interval(answer.as_dict())} {answer.unit}"
            rows.append((f"{answer.statement} (section {answer.section})", answer.paper, here, str(answer.n), answer.verdict))
    lines = [f"Tier `{report.tier}`: {headline(report)}.", "", *markdown_table(rows)]
    for section in report.sections:
        if section.name == DEFINITIONS:
            lines += ["", f"### {section.title}", "", section.caption, "", *markdown_table(section.table)]
    return "\n".join(lines)
