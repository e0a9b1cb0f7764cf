"""How sure a number over seeds is: 95 % intervals, one-sided p-values, and the number of seeds that would decide.

Four kinds of samples, one interface (`Sample`): means by Student's t and shares of seeds by Clopper and Pearson stand here,
ratios that are only known up to bounds in `censored`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
LEVEL = (1 - CONFIDENCE) / 2  # of one side
POWER = 0.8
PILOT_BELOW = 5  # seeds: fewer decide nothing
MOST_SEEDS = 200  # that are looked at for the number that would decide


class Sample(Protocol):
    """What rules ask of the values of all seeds.

    Args:
        n: number of seeds.
        value, low, high: the estimate and its 95 % interval.
        is_log: the effect is a ratio, so that halfway to a size is its root.
    """

    @property
    def n(self) -> int: ...
    @property
    def is_log(self) -> bool: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of "not above the bound"."""
        ...

    def p_below(self, bound: float) -> float: ...

    def seeds_to_exclude(self, bound: float) -> int | None:
        """Return how many seeds exclude the bound with 80 % power if the spread stays as observed; None: more than 200."""
        ...


@dataclass(frozen=True)
class Besides:
    """A squared standard error that more seeds do not make smaller, that of the test images or of the games.

    Args:
        freedom: from how many values less one it is known; None: from so many that they do not count.
    """

    variance: float = 0.0
    freedom: int | None = None

    def freedom_with(self, variance: float, freedom: int) -> int:
        """Return the degrees of freedom of the sum of this and another squared standard error: Welch and Satterthwaite's, rounded down."""
        whole = variance + self.variance
        if self.freedom is None or whole == 0:
            return freedom
        return max(min(freedom, self.freedom), int(whole**2 / (variance**2 / freedom + self.variance**2 / self.freedom)))


def student_limit(values: np.ndarray, side: int, besides: Besides) -> float:
    """Return the lower (side -1) or upper (side 1) limit of the mean; infinite where one value tells nothing of the spread."""
    if not np.isfinite(values).all():
        return float(values.mean()) if np.isinf(values).all() and len(set(values)) == 1 else side * math.inf
    if len(values) < 2:
        return side * math.inf
    variance = values.var(ddof=1) / len(values)
    freedom = besides.freedom_with(variance, len(values) - 1)
    return float(values.mean() + side * stats.t.ppf(1 - LEVEL, freedom) * math.sqrt(variance + besides.variance))


def student_p(values: np.ndarray, bound: float, besides: Besides) -> float:
    """Return the one-sided p-value of "the mean is at most the bound"."""
    if len(values) < 2 or not np.isfinite(values).all():
        is_infinitely_above = len(values) > 1 and np.isposinf(values).all()
        return 0.0 if is_infinitely_above else 1.0
    variance = values.var(ddof=1) / len(values)
    error = math.sqrt(variance + besides.variance)
    distance = values.mean() - bound
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(stats.t.sf(distance / error, besides.freedom_with(variance, len(values) - 1)))


def seeds_of_student(values: np.ndarray, bound: float, besides: Besides) -> int | None:
    """Return the smallest n at which Student's interval excludes a bound with 80 % power."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    distance, variance = abs(float(values.mean()) - bound), float(values.var(ddof=1))
    for n in range(PILOT_BELOW, MOST_SEEDS + 1):
        freedom = besides.freedom_with(variance / n, n - 1)
        needed = stats.t.ppf(1 - LEVEL, freedom) + stats.t.ppf(POWER, freedom)
        if distance > 0 and needed * math.sqrt(variance / n + besides.variance) <= distance:
            return n
    return None


@dataclass(frozen=True)
class Mean:
    """The arithmetic mean of one number a seed.

    Args:
        values: (n,).
        variance_besides, freedom_besides: see `Besides`.
        least, most: that the mean can be; the interval ends there.
    """

    values: Sequence[float]
    variance_besides: float = 0.0
    is_log: bool = False
    freedom_besides: int | None = None
    least: float = -math.inf
    most: float = math.inf

    @property
    def n(self) -> int:
        return len(self.values)

    @cached_property
    def array(self) -> np.ndarray:
        return np.asarray(self.values, dtype=float)

    @property
    def besides(self) -> Besides:
        return Besides(self.variance_besides, self.freedom_besides)

    @property
    def value(self) -> float:
        return float(self.array.mean())

    @property
    def low(self) -> float:
        return max(student_limit(self.array, -1, self.besides), self.least)

    @property
    def high(self) -> float:
        return min(student_limit(self.array, 1, self.besides), self.most)

    def p_above(self, bound: float) -> float:
        return student_p(self.array, bound, self.besides)

    def p_below(self, bound: float) -> float:
        return student_p(-self.array, -bound, self.besides)

    def seeds_to_exclude(self, bound: float) -> int | None:
        return seeds_of_student(self.array, bound, self.besides)


@dataclass(frozen=True)
class Share:
    """The share of seeds of which something is true, with the exact interval of Clopper and Pearson."""

    num_true: int
    n: int
    is_log: bool = False

    @property
    def value(self) -> float:
        return self.num_true / self.n

    @property
    def low(self) -> float:
        return float(stats.beta.ppf(LEVEL, self.num_true, self.n - self.num_true + 1)) if self.num_true else 0.0

    @property
    def high(self) -> float:
        return float(stats.beta.ppf(1 - LEVEL, self.num_true + 1, self.n - self.num_true)) if self.num_true < self.n else 1.0

    def p_above(self, bound: float) -> float:
        return float(stats.binom.sf(self.num_true - 1, self.n, bound))

    def p_below(self, bound: float) -> float:
        return float(stats.binom.cdf(self.num_true, self.n, bound))

    def seeds_to_exclude(self, bound: float) -> int | None:
        if self.value > bound:
            return seeds_by_counting(self.num_true, self.n, lambda counts, n: stats.binom.sf(counts - 1, n, bound))
        return seeds_by_counting(self.num_true, self.n, lambda counts, n: stats.binom.cdf(counts, n, bound))


def seeds_by_counting(num_true: int, n: int, p_of: Callable[[np.ndarray, int], np.ndarray]) -> int | None:
    """Return the smallest n that decides with 80 % power, each seed being true as often as seen, with half a seed added to both sides.

    Args:
        p_of: from numbers of seeds of which it is true, and of all seeds, to p-values.
    """
    share = (num_true + 0.5) / (n + 1)
    for more in range(PILOT_BELOW, MOST_SEEDS + 1):
        counts = np.arange(more + 1)
        if stats.binom.pmf(counts, more, share)[p_of(counts, more) <= LEVEL].sum() >= POWER:
            return more
    return None


def q_values(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's false discovery rate at which each of many claims would be called true."""
    return stats.false_discovery_control(p_values).tolist() if len(p_values) else []
