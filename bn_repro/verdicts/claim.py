"""What a claim is: a statement, the paper's number, the records that it needs, a measure and a rule."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bn_repro.verdicts.rules import Above, Below
from bn_repro.verdicts.selection import runs_of
from bn_repro.verdicts.statistics import Sample

ADDED_LATER = "added after its runs"  # the whole `after_look` of a claim that is younger than its runs


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement, and how records answer it.

    Args:
        says: the statement; `group` says what several claims share, once.
        paper: the number that the paper prints, or what it says instead.
        reference, subject: `<experiment>/<arm>` of the two arms, compared seed by seed; `<experiment>/<arm>+<arm>` of several, and
            `<experiment>/<arm>,<override>` where `select` takes overrides.
        measure: from pairs of what `select` gives to a sample in `unit`; None where the records do not reach.
        rule: from a sample to a verdict.
        control: `<experiment>/<arm>` that stands for the subject in the negative control: what the claim is about is
            missing in it. An arm of the claim itself stands for it by the seeds that are in no pair.
        control_reference: stands for the reference in the negative control, where it too has what must be missing.
        select: from (root, arm, tier) to what is measured, by seed: a run, several, or a sweep of learning rates.
        headline: the claim in at most eight words, if it is one of the first table.
        after_look: what was changed after a look at the runs that it is judged by, and why; or `ADDED_LATER`.
    """

    id: str
    section: str
    says: str
    paper: str
    unit: str
    reference: str
    subject: str
    measure: Callable[[Any], Sample | None]
    rule: Above | Below
    group: str = ""
    control: str | None = None
    control_reference: str | None = None
    select: Callable[[Path, str, str], dict[int, Any]] = runs_of
    headline: str = ""
    after_look: str = ""

    @property
    def arms(self) -> set[str]:
        """`<experiment>/<arm>` of every run that the claim needs."""
        named = [arm.split(",")[0] for arm in (self.reference, self.subject, self.control, self.control_reference) if arm]
        return {f"{experiment}/{arm}" for experiment, arms in (name.split("/") for name in named) for arm in arms.split("+")}

    @property
    def experiments(self) -> set[str]:
        return {arm.split("/")[0] for arm in self.arms}
