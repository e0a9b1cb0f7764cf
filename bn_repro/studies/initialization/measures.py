"""What a map of learning rate and initial deviation says of one seed: where a network trains, how fast, and how far."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bn_repro.measures.accuracy import CHANCE, accuracy_difference, bounds_of_speedup, final_accuracy, speedup, steps_to_reach
from bn_repro.verdicts.censored import GridRatio, Ratio
from bn_repro.verdicts.selection import Map
from bn_repro.verdicts.statistics import Mean

MapPairs = Sequence[tuple[Map, Map]]  # of one seed: (without BN, with BN)
SIGMOID, INCEPTION = "mnist_map", "inception_map"
TARGET = 90.0  # percent of test accuracy
LR, STD = 0, 1  # of a point


def usable_threshold(pairs: MapPairs) -> float:
    """Return the accuracy, in percent, from which a point counts as usable: halfway from chance to the best without BN."""
    return (100 * CHANCE + float(np.mean([max(map(final_accuracy, plain.values())) for plain, _ in pairs]))) / 2


def usable_points(found: Map, threshold: float) -> set[tuple[float, float]]:
    return {point for point, run in found.items() if final_accuracy(run) >= threshold}


def usable_area(pairs: MapPairs) -> Ratio:
    """Return how many times as many points of the grid, which are about evenly spread in decades, are usable with BN."""
    threshold = usable_threshold(pairs)
    counts = [[max(len(usable_points(found, threshold)), 1) for found in pair] for pair in pairs]
    return Ratio.of([of_bn / of_plain for of_plain, of_bn in counts])


def largest_rate(pairs: MapPairs) -> GridRatio:
    """Return the largest learning rate that is usable at some deviation, with BN over without."""
    return limit_ratio(pairs, LR)


def range_of_scales(pairs: MapPairs) -> GridRatio:
    """Return the largest over the smallest usable deviation, each at the best rate for it, with BN over without."""
    threshold = usable_threshold(pairs)
    grid = sorted({point[STD] for point in pairs[0][0]})
    ranges = [[width_of({point[STD] for point in usable_points(found, threshold)}, grid) for found in pair] for pair in pairs]
    return GridRatio(
        [low / high_of_plain for (_, high_of_plain), (low, _) in ranges],
        [high / low_of_plain if low_of_plain else math.inf for (low_of_plain, _), (_, high) in ranges],
    )


def width_of(usable: set[float], grid: Sequence[float]) -> tuple[float, float]:
    """Return the least and the most that largest over smallest usable value can be, since limits lie between points of the grid."""
    if not usable:
        return 1.0, grid[-1] / grid[0]
    first, last = grid.index(min(usable)), grid.index(max(usable))
    lower = grid[first - 1] if first else 0.0
    upper = grid[last + 1] if last + 1 < len(grid) else math.inf
    return grid[last] / grid[first], upper / lower if lower else math.inf


def limit_ratio(pairs: MapPairs, axis: int) -> GridRatio:
    threshold = usable_threshold(pairs)
    grid = sorted({point[axis] for point in pairs[0][0]})
    limits = [[limit_of({point[axis] for point in usable_points(found, threshold)}, grid) for found in pair] for pair in pairs]
    return GridRatio(
        [low / high_of_plain if math.isfinite(high_of_plain) else 0.0 for (_, high_of_plain), (low, _) in limits],
        [high / low_of_plain if low_of_plain else math.inf for (low_of_plain, _), (_, high) in limits],
    )


def limit_of(usable: set[float], grid: Sequence[float]) -> tuple[float, float]:
    """Return between which two points of the grid the usable values end."""
    if not usable:
        return 0.0, grid[0]
    largest = grid.index(max(usable))
    return grid[largest], grid[largest + 1] if largest + 1 < len(grid) else math.inf


def chosen_by_others(pairs: MapPairs, score: Callable[[Sequence[tuple[Map, Map]], tuple[float, float]], float]) -> list[tuple]:
    """Return for each seed the point that scores highest among the other seeds, so that no seed is judged where it was picked."""
    chosen = []
    for seed in range(len(pairs)):
        others = [pair for number, pair in enumerate(pairs) if number != seed] or pairs
        chosen.append(max(others[0][0], key=partial(score, others)))
    return chosen


def at_best_points(pairs: MapPairs) -> Mean:
    """Return how much higher BN ends, in percentage points, each at the point that is best for the other seeds."""
    points = [chosen_by_others(pairs, partial(mean_accuracy, arm=arm)) for arm in (0, 1)]
    return accuracy_difference([(plain[at_plain], bn[at_bn]) for (plain, bn), at_plain, at_bn in zip(pairs, *points)])


def mean_accuracy(pairs: MapPairs, point: tuple[float, float], arm: int) -> float:
    return float(np.mean([final_accuracy(pair[arm][point]) for pair in pairs]))


def speedup_where_plain_is_fastest(pairs: MapPairs) -> Ratio:
    """Return how many times fewer steps BN needs to 90 % at the point where the plain network is fastest, by the other seeds."""
    points = chosen_by_others(pairs, lambda others, point: -mean_steps(others, point))
    return speedup(TARGET)([(plain[point], bn[point]) for (plain, bn), point in zip(pairs, points)])


def mean_steps(pairs: MapPairs, point: tuple[float, float]) -> float:
    needed = [steps_to_reach(plain[point], TARGET) for plain, _ in pairs]
    return float(np.mean([math.inf if steps is None else steps for steps in needed]))


def largest_speedup(pairs: MapPairs) -> Ratio:
    """Return how many times fewer steps BN needs to 90 % where that is most, among points at which both arrive, by the other seeds."""
    points = chosen_by_others(pairs, mean_speedup_where_both_arrive)
    return speedup(TARGET)([(plain[point], bn[point]) for (plain, bn), point in zip(pairs, points)])


def mean_speedup_where_both_arrive(pairs: MapPairs, point: tuple[float, float]) -> float:
    bounds = [bounds_of_speedup(plain[point], bn[point], TARGET) for plain, bn in pairs]
    return -math.inf if any(low == 0 or math.isinf(high) for low, high in bounds) else float(np.mean(np.log([low for low, _ in bounds])))


def median_steps(runs: Sequence[Any]) -> float:
    return float(np.median([math.inf if steps is None else steps for steps in (steps_to_reach(run, TARGET) for run in runs)]))


def median_gain(pairs: MapPairs, point: tuple[float, float]) -> float:
    """Return the median speed-up: infinite where BN alone arrives, 0 where only the plain network does, nan where neither does."""
    plain, bn = (median_steps([pair[arm][point] for pair in pairs]) for arm in (0, 1))
    return math.nan if math.isinf(plain) and math.isinf(bn) else plain / bn
