"""How estimates are written, those of censored runs too."""

import math

import pytest

from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.numbers import fewer, gains, with_interval
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_RUN


@pytest.mark.parametrize(
    ("estimate", "low", "high", "written"),
    [
        (2.123, 1.9, 2.4, "2.12 [1.9, 2.4] x"),
        (-0.5, -1.25, 0.25, "-0.5 [-1.25, 0.25] x"),
        (1.42, 0.0, None, "1.42 [0, ∞] x"),
        (1.42, 0.0, math.inf, "1.42 [0, ∞] x"),
        (None, 5.2, None, "at least 5.2 x"),
        (math.nan, 0.0, 0.8, "at most 0.8 x"),
        (None, 0.5, 3.0, "0.5 to 3 x"),
        (None, 0.0, None, "no estimate"),
        (None, None, None, "no estimate"),
    ],
)
def test_what_is_known_of_an_estimate_is_written(estimate, low, high, written):
    row = {"verdict": INCONCLUSIVE, "estimate": estimate, "low": low, "high": high}
    assert with_interval(row, "x") == written


def test_a_claim_without_runs_has_a_dash():
    assert with_interval({"verdict": NOT_RUN, "estimate": None, "low": None, "high": None}, "x") == "-"


def answer(estimate, low, high, unit):
    fields = dict.fromkeys(Answer.__dataclass_fields__) | {"estimate": estimate, "low": low, "high": high, "unit": unit}
    return Answer(**fields | {"n": 5, "verdict": INCONCLUSIVE})


@pytest.mark.parametrize(
    ("interval", "written"),
    [
        ((2.1, 1.9, 2.4), "gains 2.1 [1.9, 2.4] points (n = 5)"),
        ((-1.8, -4.0, -0.4), "loses 1.8 [0.4, 4] points (n = 5)"),
        ((-1.8, -4.0, 0.4), "may gain or lose, -1.8 [-4, 0.4] points (n = 5)"),
    ],
)
def test_what_is_less_is_lost(interval, written):
    assert gains(answer(*interval, "points")) == written


@pytest.mark.parametrize(
    ("interval", "written"),
    [
        ((2.0, 1.5, 2.5), "2 [1.5, 2.5] times (n = 5) fewer"),
        ((0.5, 0.4, 0.8), "2 [1.25, 2.5] times (n = 5) more"),
        ((0.9, 0.8, 1.1), "no fewer, 0.9 [0.8, 1.1] times (n = 5)"),
        ((None, 2.5, None), "at least 2.5 times (n = 5) fewer"),
        ((None, 0.0, 0.8), "no fewer, at most 0.8 times (n = 5)"),
    ],
)
def test_a_ratio_below_1_is_turned(interval, written):
    assert fewer(answer(*interval, "x")) == written
