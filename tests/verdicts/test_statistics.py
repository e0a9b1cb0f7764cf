"""Intervals against numbers worked by hand."""

import math

import pytest

from bn_repro.verdicts.statistics import mean_estimate, ratio_estimate


def test_interval_of_three_values_by_hand():
    estimate = mean_estimate([1.0, 2.0, 3.0])
    half = 4.302652729911275 * 1.0 / math.sqrt(3)  # Student's t, 2 degrees of freedom, 97.5 %
    assert estimate.mean == 2
    assert (estimate.low, estimate.high) == pytest.approx((2 - half, 2 + half))
    assert estimate.n == 3


def test_one_seed_tells_nothing_of_the_spread():
    estimate = mean_estimate([5.0])
    assert (estimate.mean, estimate.low, estimate.high, estimate.n) == (5, -math.inf, math.inf, 1)


def test_ratios_are_averaged_on_a_logarithmic_scale():
    estimate = ratio_estimate([2.0, 8.0])
    half = 12.706204736432095 * math.log(8 / 2) / math.sqrt(2) / math.sqrt(2)
    assert estimate.mean == pytest.approx(4)
    assert estimate.high == pytest.approx(4 * math.exp(half))
    assert estimate.low == pytest.approx(4 * math.exp(-half))


def test_upper_bounds_among_ratios_open_the_interval_down_to_zero():
    assert ratio_estimate([2.0, 2.1, 2.2], has_upper_bounds=True).low == 0
    assert ratio_estimate([2.0, 2.1, 2.2]).low > 1.8


def test_an_error_that_is_infinite_everywhere_has_an_infinite_lower_bound():
    assert mean_estimate([math.inf, math.inf]).low == math.inf
    assert mean_estimate([1.0, math.inf]).low == -math.inf
