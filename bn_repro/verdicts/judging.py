"""How records answer the claims: pick the arms, pair the seeds, measure, judge, and judge the negative control too."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import NOT_RUN
from bn_repro.verdicts.selection import runs_in
from bn_repro.verdicts.statistics import Estimate


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
    estimate = claim.measure(pairs) if pairs else None
    control_reference = claim.select(root, claim.control_reference or claim.reference, tier)
    control_estimate = measured_unpaired(claim, list(control_reference.values()), list(control.values()))
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
        verdict_on(claim, estimate),
        verdict_on(claim, control_estimate),
        str(claim.rule),
        sorted({run.address for pair in pairs for selected in pair for run in runs_in(selected)}),
    )


def measured_unpaired(claim: Claim, references: Sequence[Any], controls: Sequence[Any]) -> Estimate | None:
    """Measure runs that have no seed in common, so that no way to pair them is the right one.

    Every reference meets every control once: the runs are paired in their order, then each with the next one's partner, and
    so on. The mean over these pairings is given the widest interval that they give together.
    """
    n = min(len(references), len(controls))
    turns = [[*controls[turn:n], *controls[:turn]] for turn in range(n)]
    estimates = [claim.measure(list(zip(references, turned))) for turned in turns]
    if not estimates:
        return None
    means, lows, highs = zip(*((estimate.mean, estimate.low, estimate.high) for estimate in estimates))
    return Estimate(float(np.mean(means)), float(np.min(lows)), float(np.max(highs)), n)


def verdict_on(claim: Claim, estimate: Estimate | None) -> str:
    return NOT_RUN if estimate is None else claim.rule.verdict(estimate)


def judge_all(root: Path, tier: str, claims: Sequence[Claim]) -> list[Answer]:
    return [judge(claim, root, tier) for claim in claims]
