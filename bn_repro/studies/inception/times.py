"""How much of the steps that BN saves is time saved, at each base? (section 4.2)"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bn_repro.measures.accuracy import bounds_of_speedup
from bn_repro.measures.relative_cost import relative_cost, timed_runs
from bn_repro.records.record import Run
from bn_repro.studies.inception.claims import FASTER
from bn_repro.studies.inception.measures import BASES, LABELS, target_at
from bn_repro.studies.study import Drawn
from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.numbers import in_a_cell
from bn_repro.verdicts.selection import runs_of

HEADERS = ("base", "arm", "times fewer steps", "a step takes, x the plain network's", "times less time", "n")


class OfOneSeed(NamedTuple):
    """The plain network and an arm: trainings, of which steps are counted, and short runs, of which steps were timed."""

    plain: Run
    subject: Run
    timed_plain: Run
    timed_subject: Run


def table_of_times(root: Path, tier: str) -> Drawn | None:
    """Return a row for each arm with BN at each base: times fewer steps to the target, how long a step takes, times less time."""
    timed = {arm: timed_runs(root, f"step_cost_inception/{arm}", tier) for arm in ("inception", *FASTER)}
    rows, runs = [], []
    for base in BASES:
        plain = runs_of(root, base.arm("inception"), tier)
        for arm in FASTER:
            of_all = (plain, runs_of(root, base.arm(arm), tier), timed["inception"], timed[arm])
            seeds = [OfOneSeed(*(of_arm[seed] for of_arm in of_all)) for seed in plain if all(seed in of_arm for of_arm in of_all)]
            target = target_at(seeds[0].plain, base.targets) if seeds else None
            if target is not None:
                rows.append((base.short_title, LABELS[arm], *times_of(seeds, target), str(len(seeds))))
                runs += [run for of_seed in seeds for run in of_seed]
    return Drawn((HEADERS, *rows), list(dict.fromkeys(runs))) if rows else None


def times_of(seeds: Sequence[OfOneSeed], target: float) -> tuple[str, str, str]:
    """Write times fewer steps to a target, what a step takes, and times less time."""
    lows, highs = zip(*(bounds_of_speedup(of_seed.plain, of_seed.subject, target) for of_seed in seeds))
    cost = relative_cost("step")
    longer = [cost(of_seed.timed_subject) / cost(of_seed.timed_plain) for of_seed in seeds]
    low_times, high_times = ([bound / times for bound, times in zip(bounds, longer)] for bounds in (lows, highs))
    return in_a_cell(Ratio(lows, highs)), in_a_cell(Ratio.of(longer)), in_a_cell(Ratio(low_times, high_times))
