"""What a claim is: a statement, the paper's number, the records that it needs, a measure and a rule."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bn_repro.verdicts.rules import Above, Below
from bn_repro.verdicts.selection import runs_of
from bn_repro.verdicts.statistics import Estimate


@dataclass(frozen=True)
class Claim:
    """One statement, and how records answer it.

    Args:
        paper: the number that the paper prints, or what it says instead.
        reference, subject: `<experiment>/<arm>` of the two arms, compared seed by seed; `<experiment>/<arm>+<arm>` of several.
        measure: from pairs of what `select` gives to an estimate in `unit`.
        rule: from an estimate to a verdict.
        control: `<experiment>/<arm>` that stands for the subject in the negative control: what the claim is about is
            missing in it.
        control_reference: stands for the reference in the negative control, where it too has what must be missing.
        select: from (root, arm, tier) to what is measured, by seed: a run, or a sweep of learning rates.
    """

    id: str
    section: str
    statement: str
    paper: str
    unit: str
    reference: str
    subject: str
    measure: Callable[[Any], Estimate]
    rule: Above | Below
    control: str
    control_reference: str | None = None
    select: Callable[[Path, str, str], dict[int, Any]] = runs_of

    @property
    def experiments(self) -> set[str]:
        arms = (self.reference, self.subject, self.control, self.control_reference or self.reference)
        return {arm.split("/")[0] for arm in arms}
