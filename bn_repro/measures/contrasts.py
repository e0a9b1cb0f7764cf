"""How two arms are compared, seed by seed: from a number of each run to the sample that a rule judges."""

from collections.abc import Callable, Sequence

from bn_repro.records.record import Run
from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.statistics import Mean, Share

NEGLIGIBLE = 1e-9
Pairs = Sequence[tuple[Run, Run]]  # of one seed: (reference, subject)


def over_subjects(measure: Callable[[Run], float]) -> Callable[[Pairs], Mean]:
    """Average a number of each subject."""
    return lambda pairs: Mean([measure(subject) for _, subject in pairs])


def difference(measure: Callable[[Run], float]) -> Callable[[Pairs], Mean]:
    """Average subject minus reference, seed by seed."""
    return lambda pairs: Mean([measure(subject) - measure(reference) for reference, subject in pairs])


def reduction(measure: Callable[[Run], float]) -> Callable[[Pairs], Ratio]:
    """Average reference over subject, seed by seed, on a logarithmic scale: how many times less the subject has."""
    return lambda pairs: Ratio.of([ratio(measure(reference), measure(subject)) for reference, subject in pairs])


def increase(measure: Callable[[Run], float]) -> Callable[[Pairs], Ratio]:
    """Average subject over reference, seed by seed, on a logarithmic scale."""
    return lambda pairs: Ratio.of([ratio(measure(subject), measure(reference)) for reference, subject in pairs])


def share_of_seeds(holds: Callable[[Run], bool]) -> Callable[[Pairs], Share]:
    """Count of how many subjects something is true."""
    return lambda pairs: Share(sum(holds(subject) for _, subject in pairs), len(pairs))


def ratio(above: float, below: float) -> float:
    """Divide two amounts that are not negative; two that are as good as 0 are equal."""
    return max(above, NEGLIGIBLE) / max(below, NEGLIGIBLE)
