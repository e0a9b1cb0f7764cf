"""How a report looks as one web page that needs no other file."""

import html
import re
from collections.abc import Sequence
from urllib.parse import quote

from bn_repro.report.claim_table import HEADERS, VERDICT_COLORS, columns, headline
from bn_repro.report.report import Report
from bn_repro.report.section import Section
from bn_repro.verdicts.judging import Answer

HOW_TO_READ = (
    "Every interval is Student's, 95 %, over n seeds, of one test set and of this claim alone; ratios are averaged on a logarithmic "
    "scale. A verdict follows from its rule, listed below: PARTLY is the direction without the size, INCONCLUSIVE an interval that "
    "allows both. The control judges the same claim on runs from which what it is about is missing (networks without BN of other "
    "seeds in place of BN; the true gradient, or no norm, in place of the faulty one); it must not say REPRODUCED. "
    "Its runs share no seed, so that no way to pair them is the right one; the widest interval of several counts."
)


SAFE_IN_DATA = " !$'()*+,/:;=?@[]^`{|}~<>"  # in a data URL between double quotes; &, # and % would end or change it


def as_html(report: Report) -> str:
    """Return one page that needs no other file."""
    head = "".join(f"<th>{header}</th>" for header in HEADERS)
    body = "\n".join(html_row(report, answer) for answer in report.answers)
    drawn = "\n".join(map(html_section, report.sections))
    rules = "".join(f"<li><code>{a.id}</code>: {html.escape(a.rule)}</li>" for a in report.answers)
    machines = "".join(f"<li>{html.escape(machine)}</li>" for machine in report.machines)
    return PAGE.format(
        tier=report.tier, headline=f"{len(report.answers)} claims: {headline(report)}.", how=html.escape(HOW_TO_READ),
        head=head, body=body, figures=drawn, rules=rules, machines=machines,
    )  # fmt: skip


def html_section(section: Section) -> str:
    drawn = html_table(section.table) if section.table else inline(section.svg, section.title)
    return (
        f"<section><h2>{html.escape(section.title)}</h2><figure>{drawn}<figcaption>{html.escape(section.caption)}"
        f"<br><code>{html.escape(section.command)}</code></figcaption></figure></section>"
    )


def html_row(report: Report, answer: Answer) -> str:
    cells = [html.escape(cell) for cell in columns(report, answer)]
    cells[-2:] = [chip(answer.verdict), chip(answer.control_verdict)]
    return f'<tr id="{answer.id}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    header, *others = [
        "".join(f"<{cell}>{html_cell(text)}</{cell}>" for text in row) for cell, row in zip(["th"] + ["td"] * len(rows), rows)
    ]
    return (
        f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>'
        + "".join(f"<tr>{row}</tr>" for row in others)
        + "</tbody></table></div>"
    )


def html_cell(text: str) -> str:
    """Escape a cell; one that begins with a verdict and a colon shows it as the claim table does."""
    verdict, colon, rest = text.partition(": ")
    return f"{chip(verdict)} {html.escape(rest)}" if colon and verdict in VERDICT_COLORS else html.escape(text)


def chip(verdict: str) -> str:
    return f'<b class="chip" style="--c:{VERDICT_COLORS[verdict][1]}">{verdict}</b>'


def inline(svg: bytes, title: str) -> str:
    """Embed a figure as an image of its own, so that the ids of two figures never meet."""
    size = re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"|height="([\d.]+)pt".*?width="([\d.]+)pt"', svg)
    width = float(size[1] or size[4]) if size else 648.0
    data = quote(svg, safe=SAFE_IN_DATA)  # shorter than base64
    return f'<img style="max-width:{width * 4 / 3:.0f}px" alt="{html.escape(title)}" src="data:image/svg+xml,{data}">'


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
