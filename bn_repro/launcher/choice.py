"""Which experiments a command is about, and in which order: all of a tier, a study's, one, or those that a claim needs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bn_repro.checks.values import nearest
from bn_repro.config import TIERS
from bn_repro.launcher.grids import experiments
from bn_repro.studies.study import Study


@dataclass(frozen=True)
class Choice:
    """What one name of `--only` picks, or several.

    Args:
        experiments: `<name>/<tier>`, in the order in which they are to be done.
        claims: ids of those to show; None: the first table.
        arms: `<experiment>/<arm>` of the only runs that are to be done, `<experiment>` of all its runs; None: all.
    """

    experiments: Sequence[str]
    claims: frozenset[str] | None
    arms: frozenset[str] | None = None

    def has(self, arm: str) -> bool:
        """Say whether runs of `<experiment>/<arm>` are to be done."""
        return self.arms is None or arm in self.arms or arm.split("/")[0] in self.arms


def choose(tier: str, only: str | None, studies: Sequence[Study], seconds_of: Callable[[str], float]) -> Choice:
    """Return what to do and to show.

    Args:
        only: the name of a study, an experiment, or a claim's id, looked for in this order; `<experiment>/<tier>` is the experiment
            alone where a study has its name.
        seconds_of: how long an experiment takes; infinity where unknown.

    Raises:
        ValueError: the tier has no experiments, or `only` names nothing of it.
    """
    there = experiments(tier)
    if not there:
        raise ValueError(f"tier {tier} has no experiments yet")
    if only is None:
        return Choice(ordered(there, studies, seconds_of), None)
    claims = {claim.id: claim for study in studies for claim in study.claims}
    of_study = {study.name: set(study.experiments) for study in studies}
    names = [name.split("/")[0] for name in there]
    if only in there:
        shown = frozenset(id for id, claim in claims.items() if only.split("/")[0] in claim.experiments)
        return Choice([only], shown)
    is_claim = only in claims and only not in of_study and only not in names
    wanted = of_study.get(only) or (claims[only].experiments if is_claim else {only} & set(names))
    chosen = [name for name in there if name.split("/")[0] in wanted]
    if not chosen:
        elsewhere = [other for other in TIERS if (wanted | {only}) & {name.split("/")[0] for name in experiments(other)}]
        if elsewhere:
            raise ValueError(f"--only {only}: it has no runs in tier {tier}, but in {' and '.join(elsewhere)}")
        near = nearest(only, [*of_study, *names, *claims])
        raise ValueError(
            f"--only {only}: no such study, experiment or claim{near}; "
            f"studies: {', '.join(of_study)}; experiments: {', '.join(names)}; claims: the ids in claims.json"
        )
    in_order = ordered(chosen, studies, seconds_of)
    if is_claim:
        return Choice(in_order, frozenset({only}), frozenset(claims[only].arms))
    if only in of_study:
        return Choice(in_order, frozenset(claim.id for study in studies if study.name == only for claim in study.claims))
    return Choice(in_order, frozenset(id for id, claim in claims.items() if claim.experiments & wanted))


def choose_all(tier: str, only: Sequence[str], studies: Sequence[Study], seconds_of: Callable[[str], float]) -> Choice:
    """Return what all these names pick together; of no name, all of the tier.

    Raises:
        ValueError: see `choose`.
    """
    if len(only) < 2:
        return choose(tier, only[0] if only else None, studies, seconds_of)
    choices = [choose(tier, name, studies, seconds_of) for name in only]
    names = list(dict.fromkeys(name for choice in choices for name in choice.experiments))
    arms = [choice.arms or {name.split("/")[0] for name in choice.experiments} for choice in choices]
    claims = [choice.claims or () for choice in choices]
    return Choice(ordered(names, studies, seconds_of), frozenset().union(*claims), frozenset().union(*arms))


def ordered(names: Sequence[str], studies: Sequence[Study], seconds_of: Callable[[str], float]) -> Sequence[str]:
    """Put first what studies with headline claims need, and of these what is quickest: the first verdicts then stand soonest."""

    def seconds(study: Study) -> float:
        known = [seconds_of(name) for name in names if name.split("/")[0] in study.experiments]
        return sum(known) if known else math.inf

    by_haste = sorted(studies, key=lambda study: (not any(claim.headline for claim in study.claims), seconds(study)))
    in_order = list(dict.fromkeys(experiment for study in by_haste for experiment in study.experiments))
    return sorted(names, key=lambda name: in_order.index(base) if (base := name.split("/")[0]) in in_order else len(in_order))
