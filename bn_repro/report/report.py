"""What a report is: the answers of a tier, the published ones beside them, and the sections drawn from its records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bn_repro.records import files
from bn_repro.report.section import Section
from bn_repro.report.sections import sections
from bn_repro.studies.claims import CLAIMS
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.judging import Answer, judge_all


@dataclass(frozen=True)
class Report:
    """A tier's answers and figures."""

    tier: str
    answers: Sequence[Answer]
    published: dict[str, dict]  # by claim id, of the same tier
    sections: Sequence[Section]
    machines: Sequence[str]


def build_report(root: Path, tier: str, published: Path | None, claims: Sequence[Claim] = CLAIMS, has_figures: bool = True) -> Report:
    """Judge and draw the records of a tier under `root`.

    Args:
        published: the folder of the tier's published report, shown beside; None while that one is being made.
        claims: those to judge.
    """
    answers = judge_all(root, tier, claims)
    path = published / files.CLAIMS if published else None
    beside = {row["id"]: row for row in json.loads(path.read_text())} if path and path.exists() else {}
    drawn = sections(root, tier, answers) if has_figures else []
    return Report(tier, answers, beside, drawn, sorted({machine for section in drawn for machine in section.machines}))
