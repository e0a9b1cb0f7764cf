"""Are numbers compared as numbers, to a stated tolerance, and those that differ named?"""

import dataclasses
import math

import pytest

from bn_repro.report.agreement import MOST_NAMED, agreement, deviation, power_of_ten_above
from bn_repro.verdicts.rules import NOT_RUN


@pytest.fixture
def answers(report):
    return [answer for answer in report.answers if answer.verdict != NOT_RUN]


@pytest.fixture
def published(answers):
    return {answer.id: answer.as_dict() for answer in answers}


def moved(answer, factor):
    return dataclasses.replace(answer, estimate=answer.estimate * factor)


def test_equal_to_the_last_digits(answers, published):
    assert f"All {len(answers)} claims" in agreement(answers, published) and "within 1e-09" in agreement(answers, published)
    last_digits = [moved(answers[0], 1 + 3e-8), *answers[1:]]
    assert f"All {len(answers)} claims" in agreement(last_digits, published) and "within 1e-07" in agreement(last_digits, published)


def test_those_that_differ_are_named_farthest_first(answers, published):
    others = [moved(answers[0], 1.01), moved(answers[1], 1.5), dataclasses.replace(answers[2], n=5), *answers[3:]]
    said = agreement(others, published)
    assert f"{len(answers) - 3} of {len(answers)} claims" in said
    assert f"these are not: `{answers[2].id}`, `{answers[1].id}`, `{answers[0].id}`." in said
    all_others = [moved(answer, 1.01) for answer in answers if answer.estimate]
    assert f"and {len(all_others) - MOST_NAMED} more." in agreement(all_others, published)


def test_nothing_published_nothing_said(answers):
    assert agreement(answers, {}) == ""


def test_a_claim_published_as_not_run_is_not_compared(answers, published):
    first = answers[0].id
    said = agreement(answers, published | {first: published[first] | {"verdict": NOT_RUN, "estimate": None, "n": 0}})
    assert f"All {len(answers) - 1} claims" in said and said.endswith(" Of 1 more no number is published.")


def test_deviation_of_what_is_no_number(answers):
    row = answers[0].as_dict()
    assert deviation(row | {"low": None}, row | {"low": -math.inf}) == 0  # JSON knows no infinity
    assert deviation(row | {"low": 1.0}, row | {"low": None}) == math.inf
    assert deviation(row | {"verdict": "NOT RUN"}, row) == math.inf


@pytest.mark.parametrize("size, above", [(0.0, 1e-9), (1e-12, 1e-9), (2e-8, 1e-7), (1e-7, 1e-7), (0.3, 1.0)])
def test_tolerance_is_written_as_a_power_of_ten(size, above):
    assert power_of_ten_above(size) == pytest.approx(above)
