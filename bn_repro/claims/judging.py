"""How records answer the claims: pick the arms, pair the seeds, measure, judge, and judge the negative control too."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bn_repro.claims.claim import Claim
from bn_repro.claims.claims import CLAIMS
from bn_repro.claims.selection import runs_in
from bn_repro.claims.statistics import Estimate
from bn_repro.claims.verdicts import INCONCLUSIVE, NOT_RUN, PARTLY, REPRODUCED


@dataclass(frozen=True)
class Answer:
    """A claim's row: the fields of `claims.json`."""

    id: str
    section: str
    statement: str
    tier: str
    paper: str
    estimate: float | None
    low: float | None
    high: float | None
    unit: str
    n: int
    verdict: str
    control_verdict: str
    rule: str
    runs: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def paired(reference: dict[int, Any], subject: dict[int, Any]) -> list[tuple[Any, Any]]:
    """Pair what has equal seeds."""
    return [(reference[seed], subject[seed]) for seed in reference if seed in subject]


def judge(claim: Claim, root: Path, tier: str) -> Answer:
    """Answer one claim from the records of a tier under `root`."""
    reference, subject, control = (claim.select(root, arm, tier) for arm in (claim.reference, claim.subject, claim.control))
    pairs = paired(reference, subject)
    estimate, verdict = measured(claim, pairs)
    # The control has seeds of its own where it would otherwise be the reference: its runs are paired in their order.
    control_reference = claim.select(root, claim.control_reference or claim.reference, tier)
    _, control_verdict = measured(claim, list(zip(control_reference.values(), control.values())))
    return Answer(
        claim.id,
        claim.section,
        claim.statement,
        tier,
        claim.paper,
        estimate.mean if estimate else None,
        estimate.low if estimate else None,
        estimate.high if estimate else None,
        claim.unit,
        len(pairs),
        distinguished(verdict, control_verdict),
        control_verdict,
        str(claim.rule),
        sorted({run.address for pair in pairs for selected in pair for run in runs_in(selected)}),
    )


def distinguished(verdict: str, control_verdict: str) -> str:
    """Return the verdict, or INCONCLUSIVE where the control, by chance, says as much: one control in forty does."""
    says_as_much = control_verdict == REPRODUCED or (control_verdict == PARTLY == verdict)
    return INCONCLUSIVE if verdict in (REPRODUCED, PARTLY) and says_as_much else verdict


def measured(claim: Claim, pairs: Sequence[tuple[Any, Any]]) -> tuple[Estimate | None, str]:
    if not pairs:
        return None, NOT_RUN
    estimate = claim.measure(pairs)
    return estimate, claim.rule.verdict(estimate)


def judge_all(root: Path, tier: str, claims: Sequence[Claim] = CLAIMS) -> list[Answer]:
    return [judge(claim, root, tier) for claim in claims]
