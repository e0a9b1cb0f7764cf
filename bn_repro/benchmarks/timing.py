"""How two pieces of work are compared on a machine whose speed drifts: in turn, round by round, as ratios."""

import itertools
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
    """Time both in turn, and return time above over time below, each round; see `ratios_beside`."""
    return ratios_beside(below, {"": above}, rounds, settle=settle)[""]


def ratios_beside(below: Work, above: dict[str, Work], rounds: int, slices: int = 1, settle: Work = lambda: None) -> dict[str, list[float]]:
    """Time several works in turn beside the same other, and return by name the time above over the time below of each round.

    A machine whose speed drifts slows all. Each turn begins with the next work, so that none is always first; of three or
    more none is called twice in a row, with its data still at hand.

    Args:
        slices: turns of a round, whose times are added.
        settle: waits until the device has done all that was asked of it.
    """
    works = [*above.values(), below]
    for work in works:
        work()
    settle()
    found: dict[str, list[float]] = {name: [] for name in above}
    turns = itertools.count(1)
    for _ in range(rounds):
        seconds = [0.0] * len(works)
        for turn in itertools.islice(turns, slices):
            for place in range(turn, turn + len(works)):
                started = time.perf_counter()
                works[place % len(works)]()
                settle()
                seconds[place % len(works)] += time.perf_counter() - started
        for name, taken in zip(above, seconds):
            found[name].append(taken / seconds[-1])
    return found
