"""What a tier's records say, as a table, a text and a page: pure functions of records, the same bytes each time."""

import base64
import html
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bn_repro.claims.claim import Claim
from bn_repro.claims.claims import CLAIMS
from bn_repro.claims.judging import Answer, judge_all
from bn_repro.claims.verdicts import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, PARTLY, REPRODUCED
from bn_repro.records import files
from bn_repro.report.section import Section
from bn_repro.report.sections import sections

VERDICT_COLORS = {
    REPRODUCED: ("green", "#0B6E3B"),
    PARTLY: ("cyan", "#1F5FA8"),
    NOT_REPRODUCED: ("red", "#A8261C"),
    INCONCLUSIVE: ("yellow", "#7A5A00"),
    NOT_RUN: ("bright_black", "#666666"),
}
HOW_TO_READ = (
    "Every interval is Student's, 95 %, over n seeds, of one test set and of this claim alone; ratios are averaged on a logarithmic "
    "scale. A verdict follows from its rule, listed below: PARTLY is the direction without the size, INCONCLUSIVE an interval that "
    "allows both. The control judges the same claim on runs from which what it is about is missing (networks without BN of other "
    "seeds in place of BN; the true gradient, or no norm, in place of the faulty one); it must not say REPRODUCED."
)


@dataclass(frozen=True)
class Report:
    """A tier's answers and figures."""

    tier: str
    answers: Sequence[Answer]
    published: dict[str, dict]  # by claim id, of the same tier
    sections: Sequence[Section]
    machines: Sequence[str]

    def files(self) -> dict[str, bytes]:
        """Return every file of the report, by its name in the report's folder."""
        content = {
            files.CLAIMS: files.as_json([answer.as_dict() for answer in self.answers]),
            files.REPORT_TEXT: as_markdown(self).encode(),
            files.REPORT_PAGE: as_html(self).encode(),
        }
        for section in self.sections:
            if section.svg:
                content[f"{files.FIGURES}/{section.name}.svg"] = section.svg
        return content


def build_report(root: Path, tier: str, published: Path | None, claims: Sequence[Claim] = CLAIMS, has_figures: bool = True) -> Report:
    """Judge and draw the records of a tier under `root`.

    Args:
        published: the folder of the tier's published report, shown beside; None while that one is being made.
        claims: those to judge.
    """
    answers = judge_all(root, tier, claims)
    path = published / files.CLAIMS if published else None
    beside = {row["id"]: row for row in json.loads(path.read_text())} if path and path.exists() else {}
    drawn = sections(root, tier) if has_figures else []
    return Report(tier, answers, beside, drawn, sorted({machine for section in drawn for machine in section.machines}))


def write_report(report: Report, folder: Path) -> Path:
    """Write every file of the report into a folder and return the page's path."""
    for name, content in report.files().items():
        files.write_atomically(folder / name, content)
    return folder / files.REPORT_PAGE


def number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.1e}" if value and abs(value) < 0.005 else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def with_interval(row: dict) -> str:
    """Write an estimate as `2.1 [1.9, 2.4] x`; a bound that does not exist as a dash."""
    if row["verdict"] == NOT_RUN:
        return "-"
    return f"{number(row['estimate'])} [{number(row['low'])}, {number(row['high'])}]"


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


def as_terminal_lines(report: Report) -> Text:
    """Return a line for each claim: verdict, statement, ours and the paper's."""
    lines = Text()
    for answer in report.answers:
        row = answer.as_dict()
        lines.append(f"  {answer.verdict:<15}", VERDICT_COLORS[answer.verdict][0])
        lines.append(f"{answer.statement}: {with_interval(row)} {answer.unit}, n={answer.n}; the paper: {answer.paper}\n")
    return lines


def headline(report: Report, ids: set[str] | None = None) -> str:
    """Count the verdicts, of all claims or of those picked by `ids`."""
    counts = Counter(answer.verdict for answer in report.answers if ids is None or answer.id in ids)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICT_COLORS if counts[verdict])


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


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the first row is its header."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]


def as_readme_table(report: Report) -> str:
    """Return the short claim table that the README shows."""
    lines = [
        f"Tier `{report.tier}`: {headline(report)}.",
        "",
        "| claim | the paper | here | n | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    for answer in report.answers:
        here = f"{with_interval(answer.as_dict())} {answer.unit}"
        lines.append(f"| {answer.statement} (section {answer.section}) | {answer.paper} | {here} | {answer.n} | {answer.verdict} |")
    return "\n".join(lines)


def as_html(report: Report) -> str:
    """Return one page that needs no other file."""
    head = "".join(f"<th>{header}</th>" for header in HEADERS)
    body = "\n".join(html_row(report, answer) for answer in report.answers)
    drawn = "\n".join(
        f"<section><h2>{html.escape(s.title)}</h2><figure>{html_table(s.table) if s.table else inline(s.svg, s.title)}<figcaption>{html.escape(s.caption)}"
        f"<br><code>{html.escape(s.command)}</code></figcaption></figure></section>"
        for s in report.sections
    )
    rules = "".join(f"<li><code>{a.id}</code>: {html.escape(a.rule)}</li>" for a in report.answers)
    machines = "".join(f"<li>{html.escape(machine)}</li>" for machine in report.machines)
    return PAGE.format(
        tier=report.tier, headline=f"{len(report.answers)} claims: {headline(report)}.", how=html.escape(HOW_TO_READ),
        head=head, body=body, figures=drawn, rules=rules, machines=machines,
    )  # fmt: skip


def html_row(report: Report, answer: Answer) -> str:
    cells = [html.escape(cell) for cell in columns(report, answer)]
    cells[-2:] = [
        f'<b class="chip" style="--c:{VERDICT_COLORS[verdict][1]}">{verdict}</b>' for verdict in (answer.verdict, answer.control_verdict)
    ]
    return f'<tr id="{answer.id}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    header, *others = [
        "".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in row) for cell, row in zip(["th"] + ["td"] * len(rows), rows)
    ]
    return (
        f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>'
        + "".join(f"<tr>{row}</tr>" for row in others)
        + "</tbody></table></div>"
    )


def inline(svg: bytes, title: str) -> str:
    """Embed a figure as an image of its own, so that the ids of two figures never meet."""
    size = re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"|height="([\d.]+)pt".*?width="([\d.]+)pt"', svg)
    width = float(size[1] or size[4]) if size else 648.0
    data = base64.b64encode(svg).decode()
    return f'<img style="max-width:{width * 4 / 3:.0f}px" alt="{html.escape(title)}" src="data:image/svg+xml;base64,{data}">'


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Batch Normalization, claim by claim: tier {tier}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; margin-bottom: .2rem; }}
h2 {{ font-size: 1.2rem; margin-top: 2.5rem; }}
.headline {{ font-size: 1.1rem; font-weight: 600; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .85rem; width: 100%; }}
th {{ text-align: left; border-bottom: 2px solid #444; padding: .35rem .5rem; white-space: nowrap; }}
td {{ border-bottom: 1px solid #ddd; padding: .35rem .5rem; vertical-align: top; font-variant-numeric: tabular-nums; }}
.chip {{ color: var(--c); border: 1px solid var(--c); border-radius: .3rem; padding: 0 .35rem; white-space: nowrap; font-size: .78rem; }}
figure {{ margin: 0; }}
img {{ width: 100%; height: auto; }}
figcaption, .how, li {{ color: #444; font-size: .9rem; max-width: 60rem; }}
code {{ background: #f3f3f3; padding: .05rem .25rem; }}
</style>
</head>
<body>
<h1>Batch Normalization, claim by claim: tier {tier}</h1>
<p class="headline">{headline}</p>
<p class="how">{how}</p>
<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></div>
{figures}
<h2>Rules</h2>
<ul>{rules}</ul>
<h2>Made with</h2>
<ul>{machines}</ul>
</body>
</html>
"""
