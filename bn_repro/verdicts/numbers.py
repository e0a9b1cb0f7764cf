"""How a number and an estimate with its interval are written."""

import math

from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import NOT_RUN


def number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.1e}" if value and abs(value) < 0.005 else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def with_interval(row: dict) -> str:
    """Write an estimate as `2.1 [1.9, 2.4] x`; a bound that does not exist as a dash."""
    if row["verdict"] == NOT_RUN:
        return "-"
    return f"{number(row['estimate'])} [{number(row['low'])}, {number(row['high'])}]"


def in_words(answer: Answer) -> str:
    """Write an answer inside a sentence, such as `2.1 [1.9, 2.4] times (n = 10)`."""
    if answer.verdict == NOT_RUN:
        return "(not run)"
    unit = "times" if answer.unit == "x" else answer.unit
    return f"{with_interval(answer.as_dict())} {unit} (n = {answer.n})"
