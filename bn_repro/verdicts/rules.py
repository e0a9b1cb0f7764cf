"""When a claim holds: one rule from an estimate with its interval to one word."""

from dataclasses import dataclass

from bn_repro.verdicts.statistics import Estimate

REPRODUCED, PARTLY, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN = (
    "REPRODUCED",
    "PARTLY",
    "NOT REPRODUCED",
    "INCONCLUSIVE",
    "NOT RUN",
)


@dataclass(frozen=True)
class Above:
    """The claim says: more than `direction`; where a size is printed or set, at least `size`."""

    direction: float
    size: float | None = None

    def verdict(self, estimate: Estimate) -> str:
        if estimate.low > self.direction:
            return REPRODUCED if self.size is None or estimate.mean >= self.size else PARTLY
        return NOT_REPRODUCED if estimate.high <= self.direction else INCONCLUSIVE

    def __str__(self) -> str:
        size = "" if self.size is None else f" and the mean at least {self.size:g}, else PARTLY"
        return f"the whole interval above {self.direction:g}{size}"


@dataclass(frozen=True)
class Below:
    """The claim says: nothing, up to `bound`; up to `loose_bound` it holds partly."""

    bound: float
    loose_bound: float

    def verdict(self, estimate: Estimate) -> str:
        if estimate.high < self.bound:
            return REPRODUCED
        if estimate.high < self.loose_bound:
            return PARTLY
        return NOT_REPRODUCED if estimate.low > self.loose_bound else INCONCLUSIVE

    def __str__(self) -> str:
        return f"the whole interval below {self.bound:g}; PARTLY below {self.loose_bound:g}"
