"""How a number and an estimate with its interval are written."""

import dataclasses
import math

from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import NOT_RUN
from bn_repro.verdicts.statistics import Sample


def number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.1e}" if value and abs(value) < 0.001 else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def with_interval(row: dict, unit: str = "") -> str:
    """Write an estimate as `2.1 [1.9, 2.4] x`, a bound that does not exist as infinite; without an estimate, what is known of it."""
    if row["verdict"] == NOT_RUN:
        return "-"
    estimate, low, high = (
        value if value is not None and math.isfinite(value) else None for value in map(row.get, ("estimate", "low", "high"))
    )
    if estimate is not None:
        bounds = f"[{'-∞' if low is None else number(low)}, {'∞' if high is None else number(high)}]"
        return f"{number(estimate)} {bounds} {unit}".rstrip()
    if low and high is None:
        return f"at least {number(low)} {unit}".rstrip()
    if not low and high is not None:
        return f"at most {number(high)} {unit}".rstrip()
    return f"{number(low)} to {number(high)} {unit}".rstrip() if low else "no estimate"


def in_words(answer: Answer) -> str:
    """Write an answer inside a sentence, such as `2.1 [1.9, 2.4] times (n = 10)`."""
    if answer.verdict == NOT_RUN:
        return "(not run)"
    unit = {"x": "times", "share": ""}.get(answer.unit, answer.unit)
    return f"{with_interval(answer.as_dict(), unit)} (n = {answer.n})"


def fewer(answer: Answer, less: str = "fewer", more: str = "more") -> str:
    """Write a ratio as `2.1 [1.9, 2.4] times (n = 10) fewer`, one below 1 as so many times more, and `no fewer, ...` what may be either."""
    if answer.high is not None and answer.high < 1 and answer.estimate and answer.low:
        return f"{in_words(dataclasses.replace(answer, estimate=1 / answer.estimate, low=1 / answer.high, high=1 / answer.low))} {more}"
    is_more = answer.low is not None and answer.low >= 1
    return f"{in_words(answer)} {less}" if is_more or answer.verdict == NOT_RUN else f"no {less}, {in_words(answer)}"


def gains(answer: Answer) -> str:
    """Write a difference as `gains 2.1 [1.9, 2.4] points (n = 10)`, one below 0 as `loses ...`, and what may be either as such."""
    if answer.low is not None and answer.high is not None and answer.low < 0 < answer.high:
        return f"may gain or lose, {in_words(answer)}"
    if answer.estimate is not None and answer.estimate < 0:
        return f"loses {in_words(turned(answer))}"
    return f"gains {in_words(answer)}"


def turned(answer: Answer) -> Answer:
    """Return the answer with the other sign, to say of what is less by how much it is."""
    estimate, low, high = (None if value is None else -value for value in (answer.estimate, answer.high, answer.low))
    return dataclasses.replace(answer, estimate=estimate, low=low, high=high)


def in_a_cell(sample: Sample) -> str:
    """Write a sample's mean with its interval as a claim's row does, without a unit."""
    return with_interval({"verdict": "", "estimate": sample.value, "low": sample.low, "high": sample.high})
