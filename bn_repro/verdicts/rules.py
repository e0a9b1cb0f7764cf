"""When a claim holds: from a sample to one word, direction and size decided apart."""

import math
from dataclasses import dataclass

from bn_repro.verdicts.statistics import LEVEL, PILOT_BELOW, Sample

REPRODUCED, PARTLY, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN = (
    "REPRODUCED",
    "PARTLY",
    "NOT REPRODUCED",
    "INCONCLUSIVE",
    "NOT RUN",
)


@dataclass(frozen=True)
class Above:
    """The claim says: more than the null, by `size`: what the paper prints, or else the least that would matter.

    REPRODUCED: the null is excluded, the size is not, and the estimate is at least halfway to it. PARTLY: the null is
    excluded, and the effect is smaller than that. NOT REPRODUCED: less than the null, or the size is excluded and the null is
    not. INCONCLUSIVE: neither is excluded, or fewer than five seeds.
    """

    null: float
    size: float

    def verdict(self, sample: Sample) -> str:
        if sample.n < PILOT_BELOW:
            return INCONCLUSIVE
        is_above, is_smaller = self.p_value(sample) <= LEVEL, sample.p_below(self.size) <= LEVEL
        if is_above:
            return REPRODUCED if not is_smaller and sample.value >= self.halfway(sample.is_log) else PARTLY
        return NOT_REPRODUCED if is_smaller or sample.p_below(self.null) <= LEVEL else INCONCLUSIVE

    def p_value(self, sample: Sample) -> float:
        """Return the one-sided p-value of the null."""
        return sample.p_above(self.null)

    def halfway(self, is_log: bool) -> float:
        return math.sqrt(self.null * self.size) if is_log else (self.null + self.size) / 2

    def seeds_needed(self, sample: Sample) -> int | None:
        """Return how many seeds would exclude the null or the size; None: not even 200."""
        return least(sample.seeds_to_exclude(self.null), sample.seeds_to_exclude(self.size))

    def __str__(self) -> str:
        return f"interval above {self.null:g}; size {self.size:g} not excluded, estimate at least halfway to it, else PARTLY"


@dataclass(frozen=True)
class Below:
    """The claim says: nothing, up to `bound`; up to `loose_bound` it holds partly."""

    bound: float
    loose_bound: float

    def verdict(self, sample: Sample) -> str:
        if sample.n < PILOT_BELOW:
            return INCONCLUSIVE
        if self.p_value(sample) <= LEVEL:
            return REPRODUCED
        if sample.p_below(self.loose_bound) <= LEVEL:
            return PARTLY
        return NOT_REPRODUCED if sample.p_above(self.loose_bound) <= LEVEL else INCONCLUSIVE

    def p_value(self, sample: Sample) -> float:
        return sample.p_below(self.bound)

    def seeds_needed(self, sample: Sample) -> int | None:
        return least(sample.seeds_to_exclude(self.bound), sample.seeds_to_exclude(self.loose_bound))

    def __str__(self) -> str:
        return f"interval below {self.bound:g}; PARTLY below {self.loose_bound:g}"


def least(*numbers: int | None) -> int | None:
    return min((number for number in numbers if number is not None), default=None)
