"""How two pieces of work are compared on a machine whose speed drifts: in turn, round by round, as ratios."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """One row of the benchmark: our time over theirs of every round, or theirs over ours where we are to be faster.

    Args:
        bound: the most that our time may be of theirs; of a speed-up the least; 0 for none.
    """

    what: str
    beside: str
    ratios: list[float]
    bound: float
    is_speedup: bool = False

    @property
    def quartiles(self) -> tuple[float, float, float]:
        if len(self.ratios) < 2:
            return (self.ratios[0],) * 3
        low, middle, high = statistics.quantiles(self.ratios, n=4)
        return low, middle, high

    @property
    def holds(self) -> bool:
        median = self.quartiles[1]
        return not self.bound or (median >= self.bound if self.is_speedup else median <= self.bound)


def ratios(above: Work, below: Work, rounds: int, settle: Work = lambda: None) -> list[float]:
    """Time both in turn, so that a machine whose speed drifts slows both, and return time above over time below, each round.

    Args:
        settle: waits until the device has done all that was asked of it.
    """
    above(), below(), settle()
    found = []
    for number in range(rounds):
        seconds = {}
        for work in (above, below) if number % 2 else (below, above):
            started = time.perf_counter()
            work()
            settle()
            seconds[work] = time.perf_counter() - started
        found.append(seconds[above] / seconds[below])
    return found


def ratios_beside(below: Work, above: dict[str, Work], rounds: int, slices: int = 1) -> dict[str, list[float]]:
    """Time several works in turn beside the same other, and return by name the time above over the time below of each round.

    Args:
        slices: calls of each work in a round, whose times are added; all works take their turns after every one, each time
            from the next on, so that of several none is called twice in a row, with its data still at hand.
    """
    works = {"": below, **above}
    for work in works.values():
        work()
    names, found = list(works), {name: [] for name in above}
    for _ in range(rounds):
        seconds = dict.fromkeys(works, 0.0)
        for number in range(slices):
            first = number % len(works)
            for name in [*names[first:], *names[:first]]:
                started = time.perf_counter()
                works[name]()
                seconds[name] += time.perf_counter() - started
        for name in above:
            found[name].append(seconds[name] / seconds[""])
    return found
