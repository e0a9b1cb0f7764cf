"""How records answer the claims: pick the arms, pair the seeds, measure, judge, and judge the negative control too."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_RUN, REPRODUCED
from bn_repro.verdicts.selection import runs_in
from bn_repro.verdicts.statistics import LEVEL, q_values

Selected = Callable[[Callable[[Path, str, str], dict[int, Any]], str], dict[int, Any]]  # from `select` and an arm
DIGITS = 10  # that a published number means; the bits beyond differ between machines


@dataclass(frozen=True)
class Answer:
    """A claim's row: the fields of `claims.json`.

    Args:
        p, q: the one-sided p-value of the null, and its false discovery rate among all claims of the tier.
        seeds_needed: how many seeds would decide what is INCONCLUSIVE; None: more than 200, or decided.
        control_verdict: of the negative control; None if the claim has none.
        rule_commit: the commit that last changed the rule or the measure.
    """

    id: str
    section: str
    group: str
    says: str
    tier: str
    paper: str
    estimate: float | None
    low: float | None
    high: float | None
    unit: str
    n: int
    p: float | None
    q: float | None
    verdict: str
    seeds_needed: int | None
    control_verdict: str | None
    rule: str
    rule_commit: str | None
    after_look: str
    runs: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {name: rounded(value) for name, value in asdict(self).items()}


def rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def paired(reference: dict[int, Any], subject: dict[int, Any]) -> dict[int, tuple[Any, Any]]:
    """Pair what has equal seeds, by seed."""
    return {seed: (reference[seed], subject[seed]) for seed in reference if seed in subject}


def selections(root: Path, tier: str) -> Selected:
    """Return what gives a claim's `select` of an arm, each read once for all claims."""
    return cache(lambda select, arm: select(root, arm, tier))


def judge(claim: Claim, selected: Selected, tier: str, rule_commit: str | None = None) -> Answer:
    """Answer one claim from the records of a tier."""
    reference, subject = (selected(claim.select, arm) for arm in (claim.reference, claim.subject))
    pairs = paired(reference, subject)
    sample = claim.measure(list(pairs.values())) if pairs else None
    verdict = NOT_RUN if sample is None else claim.rule.verdict(sample)
    return Answer(
        id=claim.id,
        section=claim.section,
        group=claim.group,
        says=claim.says,
        tier=tier,
        paper=claim.paper,
        estimate=sample.value if sample else None,
        low=sample.low if sample else None,
        high=sample.high if sample else None,
        unit=claim.unit,
        n=len(pairs),
        p=claim.rule.p_value(sample) if sample else None,
        q=None,
        verdict=verdict,
        seeds_needed=claim.rule.seeds_needed(sample) if sample and verdict == INCONCLUSIVE else None,
        control_verdict=control_verdict(claim, selected, set(pairs)),
        rule=str(claim.rule),
        rule_commit=rule_commit,
        after_look=claim.after_look,
        runs=sorted({run.address for pair in pairs.values() for selected in pair for run in runs_in(selected)}),
    )


def control_verdict(claim: Claim, selected: Selected, paired_seeds: set[int]) -> str | None:
    """Judge the negative control: its lowest seed beside the reference's lowest, and so on.

    Of an arm that is compared, by the claim or by the control, those seeds are the control that are in no pair, if it has such.
    """
    if claim.control is None:
        return None
    stands_for_reference = claim.control_reference or claim.reference
    reference, control = (selected(claim.select, arm) for arm in (stands_for_reference, claim.control))
    if claim.control in (claim.reference, claim.subject, stands_for_reference):
        control = {seed: found for seed, found in control.items() if seed not in paired_seeds} or control
    if claim.control == stands_for_reference:
        reference = {seed: found for seed, found in reference.items() if seed not in control}
    pairs = list(zip(reference.values(), control.values()))
    sample = claim.measure(pairs) if pairs else None
    return claim.rule.verdict(sample) if sample else NOT_RUN


def judge_all(root: Path, tier: str, claims: Sequence[Claim], rule_commits: dict[str, str] | None = None) -> list[Answer]:
    """Answer all claims; false discovery rates are over those that have runs."""
    selected = selections(root, tier)
    answers = [judge(claim, selected, tier, (rule_commits or {}).get(claim.id)) for claim in claims]
    qs = iter(q_values([answer.p for answer in answers if answer.p is not None]))
    return [dataclasses.replace(answer, q=next(qs)) if answer.p is not None else answer for answer in answers]


def false_expected(answers: Sequence[Answer]) -> float:
    """Return how many of the claims called REPRODUCED are false at most on average: their number times the largest of their q."""
    found = [answer.q for answer in answers if answer.verdict == REPRODUCED and answer.q is not None]
    return len(found) * max(found, default=0.0)


def controls_reproduced(answers: Sequence[Answer]) -> tuple[int, int, float]:
    """Return how many negative controls say REPRODUCED, how many there are, and how many of them chance allows."""
    verdicts = [answer.control_verdict for answer in answers if answer.control_verdict not in (None, NOT_RUN)]
    return sum(verdict == REPRODUCED for verdict in verdicts), len(verdicts), len(verdicts) * LEVEL
