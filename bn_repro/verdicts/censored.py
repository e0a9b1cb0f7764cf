"""How sure a ratio over seeds is that is only known up to bounds: where a run never arrived, or limits lie between points of a grid."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from bn_repro.verdicts.statistics import LEVEL, Besides, seeds_by_counting, seeds_of_student, student_limit, student_p


@dataclass(frozen=True)
class Ratio:
    """The geometric mean of one positive ratio a seed, of which some are only known to lie between two bounds.

    A ratio is censored where a run never arrived: at most (reference's steps) / (all steps of the subject), so that its low
    bound is 0; or at least, so that its high bound is infinite. The interval's low limit is that of the low bounds and its
    high limit that of the high ones, so that it holds the mean of the true ratios at least as often as Student's does.
    """

    lows: Sequence[float]
    highs: Sequence[float]
    is_log: bool = True

    @classmethod
    def of(cls, values: Sequence[float]) -> "Ratio":
        return cls(values, values)

    @property
    def n(self) -> int:
        return len(self.lows)

    @cached_property
    def log_lows(self) -> np.ndarray:
        return log_of(self.lows)

    @cached_property
    def log_highs(self) -> np.ndarray:
        return log_of(self.highs)

    @property
    def value(self) -> float:
        """Return the mean; infinite where every ratio has a low bound alone, not a number where every one has a high bound alone."""
        has_low, has_high = np.isfinite(self.log_lows).any(), np.isfinite(self.log_highs).any()
        if has_low and has_high:
            return middle_of(self.log_lows, self.log_highs)
        return math.inf if has_low else math.nan

    @property
    def low(self) -> float:
        return float(np.exp(student_limit(self.log_lows, -1, Besides())))

    @property
    def high(self) -> float:
        return float(np.exp(student_limit(self.log_highs, 1, Besides())))

    def p_above(self, bound: float) -> float:
        return student_p(self.log_lows, math.log(bound), Besides())

    def p_below(self, bound: float) -> float:
        return student_p(-self.log_highs, -math.log(bound), Besides())

    def seeds_to_exclude(self, bound: float) -> int | None:
        """Return how many seeds would; None too where only the bounds that censoring leaves, and not the ratios, lie on one side of it."""
        if self.log_lows.mean() > math.log(bound):
            return seeds_of_student(self.log_lows, math.log(bound), Besides())
        return seeds_of_student(self.log_highs, math.log(bound), Besides()) if self.log_highs.mean() < math.log(bound) else None


@dataclass(frozen=True)
class GridRatio:
    """One ratio a seed of two limits that each lie between two points of a grid: known up to a spacing, whatever n is.

    Direction is decided seed by seed, by the exact sign test; the interval is that of the median ratio, by inverting it.

    Args:
        lows, highs: (n,) bounds of each seed's ratio, 0 and infinity where the grid ends.
    """

    lows: Sequence[float]
    highs: Sequence[float]
    is_log: bool = True

    @property
    def n(self) -> int:
        return len(self.lows)

    @property
    def value(self) -> float:
        return middle_of(log_of(self.lows), log_of(self.highs), np.median)

    @property
    def rank(self) -> int:
        """Return how many of the lowest values the interval's low limit may leave out, by the sign test; -1: it has none."""
        return int(stats.binom.ppf(LEVEL, self.n, 0.5)) - 1 if self.n and 0.5**self.n <= LEVEL else -1

    @property
    def low(self) -> float:
        return float(np.sort(self.lows)[self.rank]) if self.rank >= 0 else 0.0

    @property
    def high(self) -> float:
        return float(np.sort(self.highs)[::-1][self.rank]) if self.rank >= 0 else math.inf

    def p_above(self, bound: float) -> float:
        """A limit lies strictly between its two points, so that a low bound that equals the bound is above it."""
        return float(sign_test_p(sum(low >= bound for low in self.lows), self.n))

    def p_below(self, bound: float) -> float:
        return float(sign_test_p(sum(high <= bound for high in self.highs), self.n))

    def seeds_to_exclude(self, bound: float) -> int | None:
        for_it = max(sum(low >= bound for low in self.lows), sum(high <= bound for high in self.highs))
        return seeds_by_counting(for_it, self.n, sign_test_p)  # type: ignore[arg-type]


def sign_test_p(num_for: int | np.ndarray, n: int) -> float | np.ndarray:
    """Return the chance that at least so many of n fair coins fall that way; a seed that is undecided counts against."""
    return stats.binom.sf(num_for - 1, n, 0.5)


def log_of(values: Sequence[float]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(values, dtype=float))


def middle_of(log_lows: np.ndarray, log_highs: np.ndarray, average: Callable[[np.ndarray], float] = np.mean) -> float:
    """Average the middles of intervals; one that is open on one side counts with its other bound, one open on both not at all."""
    both = np.stack([log_lows, log_highs])
    finite = np.isfinite(both)
    counted = finite.any(0)
    if not counted.any():
        return math.nan
    middles = np.where(finite, both, 0.0).sum(0)[counted] / finite.sum(0)[counted]
    return float(np.exp(average(middles)))
