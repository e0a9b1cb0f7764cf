"""What the README says of the published results: the findings and the first table, between markers."""

import re

from bn_repro.report.claim_table import counted
from bn_repro.report.page import headline_table, slug
from bn_repro.report.report import Report

START, END = "<!-- {} -->", "<!-- /{} -->"
FINDINGS, TABLE = "findings", "claims"
MOST_FINDINGS = 5
END_OF_SENTENCE = r"(?<=\.) (?=[A-Z])"


def with_results(readme: str, report: Report, place: str) -> str:
    """Return the README with what stands between its markers written anew.

    Args:
        place: the path of the report's text, for links.
    """
    readme = between(readme, FINDINGS, findings(report, place))
    return between(readme, TABLE, "\n".join(headline_table(report, place)))


def findings(report: Report, place: str) -> str:
    """Count the verdicts, and return a line for each of the first studies that the first table asks: the first sentence of its answer."""
    asked = [chapter for chapter in report.chapters if chapter.answered and any(claim.headline for claim in chapter.study.claims)]
    return "\n".join(
        [f"Of {len(report.answers)} [claims]({place}), {counted(report.answers)}.\n"]
        + [
            f"- [{chapter.study.title}]({place}#{slug(chapter.study.title)}). {re.split(END_OF_SENTENCE, chapter.in_words)[0]}"
            for chapter in asked[:MOST_FINDINGS]
        ]
    )


def between(text: str, name: str, content: str) -> str:
    """Replace what stands between the markers of that name.

    Raises:
        ValueError: there are no such markers.
    """
    start, end = START.format(name), END.format(name)
    if start not in text or end not in text:
        raise ValueError(f"the README has no markers {start} and {end}")
    return f"{text[: text.index(start) + len(start)]}\n{content}\n{text[text.index(end) :]}"
