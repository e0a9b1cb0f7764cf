"""How much of the steps that BN saves is time saved, at each base."""

from collections.abc import Sequence
from pathlib import Path

from bn_repro.measures.accuracy import bounds_of_speedup
from bn_repro.measures.step_costs import step_cost
from bn_repro.records.record import Run
from bn_repro.studies.inception.claims import FASTER
from bn_repro.studies.inception.measures import BASES, LABELS, target_at
from bn_repro.studies.study import Drawn
from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.numbers import ratio_in_words
from bn_repro.verdicts.selection import runs_of


def table_of_times(root: Path, tier: str) -> Drawn | None:
    """Return a row for each arm with BN at each base: times fewer steps to the target, how long a step takes, times less time."""
    costs = {arm: runs_of(root, f"step_cost_inception/{arm}", tier) for arm in ("inception", *FASTER)}
    rows, runs = [], []
    for base in BASES:
        plain = runs_of(root, base.arm("inception"), tier)
        for arm in FASTER:
            of_arms = (plain, runs_of(root, base.arm(arm), tier), costs["inception"], costs[arm])
            sets = [tuple(of_arm[seed] for of_arm in of_arms) for seed in sorted(plain) if all(seed in of_arm for of_arm in of_arms)]
            target = target_at(sets[0][0], base.targets) if sets else None
            if target is not None:
                rows.append((base.short_title, LABELS[arm], *numbers_of(sets, target), str(len(sets))))
                runs += [run for of_seed in sets for run in of_seed]
    headers = ("base", "arm", "times fewer steps", "a step takes, x the plain network's", "times less time", "n")
    return Drawn((headers, *rows), list(dict.fromkeys(runs))) if rows else None


def numbers_of(sets: Sequence[tuple[Run, ...]], target: float) -> tuple[str, str, str]:
    """Return times fewer steps, what a step takes, and times less time.

    Args:
        sets: of one seed: (plain, arm), of which steps are counted, and (plain, arm), of which steps were timed.
    """
    bounds = [bounds_of_speedup(plain, subject, target) for plain, subject, _, _ in sets]
    longer = [step_cost("both")(timed) / step_cost("both")(plain) for _, _, plain, timed in sets]
    lows, highs = zip(*bounds)
    fewer, faster = Ratio(lows, highs), Ratio(*([bound / one for bound, one in zip(of_all, longer)] for of_all in (lows, highs)))
    return ratio_in_words(fewer), ratio_in_words(Ratio.of(longer)), ratio_in_words(faster)
