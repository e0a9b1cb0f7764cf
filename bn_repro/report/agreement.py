"""Are the numbers of a report those that are published, to how many digits, and which are not?"""

import math
from collections.abc import Mapping, Sequence

from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import NOT_RUN

NUMBERS, WORDS = ("estimate", "low", "high", "p"), ("verdict", "n", "control_verdict")
TOLERANCE = 1e-6  # relative: machines differ in the last bits of a sum, trainings that differ in a bit differ by more
MOST_NAMED = 12


def agreement(answers: Sequence[Answer], published: Mapping[str, dict]) -> str:
    """Say whether the answers that have runs are the published ones, and how many have none beside them; empty where all have none.

    A claim that says NOT RUN where it is published has no number to be compared with.
    """
    judged = [answer for answer in answers if answer.verdict != NOT_RUN]
    numbers = {id: row for id, row in published.items() if row["verdict"] != NOT_RUN}
    deviations = {answer.id: deviation(answer.as_dict(), numbers[answer.id]) for answer in judged if answer.id in numbers}
    if not deviations:
        return ""
    num_alone = len(judged) - len(deviations)
    alone = f" Of {num_alone} more no number is published." if num_alone else ""
    others = sorted((id for id, size in deviations.items() if size > TOLERANCE), key=lambda id: -deviations[id])
    if not others:
        within = power_of_ten_above(max(deviations.values()))
        return f"All {len(deviations)} claims compared are equal to the published numbers within {within:.0e}, relative.{alone}"
    named = ", ".join(f"`{id}`" for id in others[:MOST_NAMED])
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    return (
        f"{len(deviations) - len(others)} of {len(deviations)} claims compared are equal to the published numbers within "
        f"{TOLERANCE:.0e}, relative; these are not: {named}{more}.{alone}"
    )


def deviation(row: Mapping, published: Mapping) -> float:
    """Return the largest relative difference of two rows' numbers; infinite where one has no number, or the words differ."""
    if any(row[name] != published.get(name) for name in WORDS):
        return math.inf
    return max(relative(finite(row[name]), finite(published.get(name))) for name in NUMBERS)


def relative(here: float | None, there: float | None) -> float:
    if here is None or there is None:
        return 0.0 if here is there else math.inf
    return abs(here - there) / max(abs(here), abs(there)) if here != there else 0.0


def finite(value: float | None) -> float | None:
    """Return the value as JSON keeps it: what is not finite is none."""
    return value if value is not None and math.isfinite(value) else None


def power_of_ten_above(size: float) -> float:
    """Return the least power of ten that is not below a size; of those that 10 written digits can tell."""
    return max(1e-9, 10.0 ** math.ceil(math.log10(size))) if size else 1e-9
