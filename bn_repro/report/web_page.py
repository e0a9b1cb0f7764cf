"""How a report looks as one web page that needs no other file."""

import html
import re
from collections.abc import Sequence
from urllib.parse import quote

from bn_repro.report.claim_table import VERDICTS, by_group, cells, counted, headers, looked, what_decides
from bn_repro.report.exhibit import Exhibit
from bn_repro.report.headline import Row, headline_rows
from bn_repro.report.report import Chapter, Report
from bn_repro.report.statements import about, evidence, sections
from bn_repro.report.web_style import FILTERS, STYLE
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_RUN

SAFE_IN_DATA = " !$'()*+,/:;=?@[]^`{|}~<>"  # in a data URL between double quotes; &, # and % would end or change it


def as_html(report: Report) -> str:
    """Return one page that needs no other file."""
    shown = [chapter for chapter in report.chapters if not chapter.is_empty]
    title = f"Batch Normalization, claim by claim: tier {report.tier}"
    empty = ", ".join(chapter.study.title for chapter in report.chapters if chapter.is_empty)
    links = [("summary", "Summary"), *((chapter.study.name, chapter.study.title) for chapter in shown), ("rules", "Rules")]
    return PAGE.format(
        title=html.escape(title),
        style=STYLE,
        choices="".join(f'<input type="radio" name="verdict" id="only-{name}"{checked}>' for name, _, checked in FILTERS),
        labels="".join(f'<label for="only-{name}">{words}</label>' for name, words, _ in FILTERS),
        contents="".join(f'<a href="#{place}">{html.escape(words)}</a>' for place, words in links),
        headline=counted(report.answers),
        headlines="".join(map(html_headline, headline_rows(report))),
        about="".join(f"<p>{inline_code(text)}</p>" for text in about(report)),
        chapters="\n".join(html_chapter(report, chapter) for chapter in shown),
        empty=f"<h2>Not run in this tier</h2><p>{html.escape(empty)}.</p>" if empty else "",
        rules="".join(f"<li><code>{a.id}</code>: {html.escape(evidence(a))}</li>" for a in report.answers),
        machines="".join(f"<li>{html.escape(machine)}</li>" for machine in report.machines),
    )


def html_headline(row: Row) -> str:
    says = html.escape(row.says)
    linked = f'<a href="#{row.answer.id}">{says}</a>' if row.answer and row.verdict != NOT_RUN else says
    values = (("the paper", html.escape(row.paper)), ("here", unbroken(row.here)), ("verdict", chip(row.verdict)))
    return f"<tr><th>{linked}</th>" + "".join(f'<td data-label="{name}">{value}</td>' for name, value in values) + "</tr>"


def html_chapter(report: Report, chapter: Chapter) -> str:
    study = chapter.study
    words = f'<p class="answer">{unbroken(chapter.in_words)}</p>' if chapter.answered or not study.claims else ""
    ids = ", ".join(f"<code>{answer.id}</code>" for answer in chapter.not_run)
    not_run = f'<p class="small">Not run in this tier: {ids}.</p>' if ids else ""
    return (
        f'<section id="{study.name}"><h2>{html.escape(study.title)}</h2>'
        f'<p class="question">{html.escape(study.question)} <span>{sections(study)}</span></p>{words}'
        f"{html_claims(report, chapter.answered) if chapter.answered else ''}{not_run}"
        f"{''.join(map(html_exhibit, chapter.exhibits))}</section>"
    )


def html_claims(report: Report, answers: Sequence[Answer]) -> str:
    names = headers(report)
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tbody>"
        + (f'<tr class="group"><th colspan="{len(names)}">{html.escape(group)}</th></tr>' if group else "")
        + "".join(html_row(report, answer) for answer in members)
        + "</tbody>"
        for group, members in by_group(answers).items()
    )
    return f'<table class="claims"><thead><tr>{head}</tr></thead>{body}</table>'


def html_row(report: Report, answer: Answer) -> str:
    names, written = headers(report)[1:], dict(zip(headers(report), cells(report, answer)))
    after_look = f"<small>{html.escape(looked(answer))}</small>" if answer.after_look else ""
    values = {name: unbroken(written[name]) for name in names}
    values["verdict"] = chip(answer.verdict) + (f"<small>{what_decides(answer)}</small>" if answer.verdict == INCONCLUSIVE else "")
    values["control"] = chip(answer.control_verdict) if answer.control_verdict else "none"
    row = "".join(f'<td data-label="{name}">{value}</td>' for name, value in values.items())
    return f'<tr id="{answer.id}" class="{css_class(answer.verdict)}"><th>{html.escape(answer.says)}{after_look}</th>{row}</tr>'


def html_exhibit(exhibit: Exhibit) -> str:
    shown = html_table(exhibit.rows) if exhibit.rows else inline(exhibit.svg, exhibit.figure.alt)
    return (
        f'<figure id="{exhibit.name}"><h3>{html.escape(exhibit.figure.title)}</h3><div class="scroll">{shown}</div>'
        f"<figcaption>{unbroken(exhibit.caption)}<br><code>{html.escape(exhibit.command)}</code></figcaption></figure>"
    )


def html_table(rows: Sequence[Sequence[str]]) -> str:
    header, *others = ["".join(f"<{tag}>{html_cell(text)}</{tag}>" for text in row) for tag, row in zip(["th"] + ["td"] * len(rows), rows)]
    return f"<table><thead><tr>{header}</tr></thead><tbody>" + "".join(f"<tr>{row}</tr>" for row in others) + "</tbody></table>"


def html_cell(text: str) -> str:
    """Escape a cell; one that begins with a verdict and a colon shows it as the claim table does."""
    verdict, colon, rest = text.partition(": ")
    return f"{chip(verdict)} {unbroken(rest)}" if colon and verdict in VERDICTS else unbroken(text)


def unbroken(text: str) -> str:
    """Escape a text; no line ends inside an interval or a number of seeds."""
    return html.escape(re.sub(r"\[[^\]]*\]|n = \d+", lambda part: part[0].replace(" ", "\u00a0"), text))


def chip(verdict: str) -> str:
    return f'<b class="chip {css_class(verdict)}">{verdict}</b>'


def css_class(verdict: str) -> str:
    return verdict.lower().replace(" ", "-")


def inline_code(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def inline(svg: bytes, alt: str) -> str:
    """Embed a figure as an image of its own, so that the ids of two figures never meet."""
    size = re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"|height="([\d.]+)pt".*?width="([\d.]+)pt"', svg)
    width = float(size[1] or size[4]) if size else 648.0
    data = quote(svg, safe=SAFE_IN_DATA)  # shorter than base64
    return f'<img style="--width:{width * 4 / 3:.0f}px" alt="{html.escape(alt)}" src="data:image/svg+xml,{data}">'


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
{choices}
<nav><div class="contents">{contents}</div><div class="filter">Show: {labels}</div></nav>
<main>
<section id="summary">
<h1>{title}</h1>
<p class="headline">{headline}.</p>
<table class="headlines"><thead><tr><th>claim</th><th>the paper</th><th>here [95 % interval]</th><th>verdict</th></tr></thead>
<tbody>{headlines}</tbody></table>
<div class="about">{about}</div>
</section>
{chapters}
{empty}
<section id="rules"><h2>Rules</h2>
<ul>{rules}</ul>
<h2>Made with</h2>
<ul>{machines}</ul></section>
</main>
</body>
</html>
"""
