"""Each rule against each of its words; samples of five seeds with chosen intervals."""

import pytest

from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, PARTLY, REPRODUCED, Above, Below
from bn_repro.verdicts.statistics import Mean, Share


def around(center: float, half_width: float) -> Mean:
    """Return five values whose interval is as wide on both sides."""
    spread = half_width / 2.7764451051977934 * 5**0.5
    deviations = [-1.0, -1.0, 0.0, 1.0, 1.0]  # of standard deviation 1
    return Mean([center + spread * deviation for deviation in deviations])


def test_the_made_up_interval_is_as_wide_as_said():
    assert (around(3, 2).low, around(3, 2).high) == pytest.approx((1, 5))


@pytest.mark.parametrize(
    "rule, center, half_width, expected",
    [
        (Above(1, 5), 6, 2, REPRODUCED),  # [4, 8]
        (Above(1, 5), 3.5, 2, REPRODUCED),  # [1.5, 5.5]: the size is not excluded, the mean is past halfway
        (Above(1, 5), 2.9, 1.8, PARTLY),  # [1.1, 4.7]: the size is excluded
        (Above(1, 5), 2.9, 1.85, PARTLY),
        (Above(1, 9), 4.5, 4.6, INCONCLUSIVE),  # [-0.1, 9.1] holds both
        (Above(1, 5), 1.0, 2, NOT_REPRODUCED),  # [-1, 3]: an effect of the size is not there
        (Above(1, 5), -3, 2, NOT_REPRODUCED),  # [-5, -1]
        (Above(1, 14.8), 0.93, 0.2, NOT_REPRODUCED),
        (Below(0.1, 1), 0.05, 0.03, REPRODUCED),
        (Below(0.1, 1), 0.1, 0.3, PARTLY),
        (Below(0.1, 1), 0.9, 0.5, INCONCLUSIVE),
        (Below(0.1, 1), 3, 1, NOT_REPRODUCED),
    ],
)
def test_verdict(rule, center, half_width, expected):
    assert rule.verdict(around(center, half_width)) == expected


def test_beyond_the_null_with_the_size_in_reach_but_less_than_halfway_is_partly():
    sample = around(2.0, 0.9)
    assert Above(1, 2.8).verdict(sample) == REPRODUCED and Above(1, 2.89).verdict(sample) == REPRODUCED
    wide = Mean([1.2, 1.3, 1.4, 1.5, 4.0])
    assert wide.low > 0.2 and wide.high > 3.2 and Above(0.2, 3.5).verdict(wide) == PARTLY


def test_halfway_of_ratios_is_on_their_own_scale():
    assert Above(1, 16).halfway(is_log=True) == pytest.approx(4) and Above(1, 16).halfway(is_log=False) == 8.5


def test_fewer_than_five_seeds_are_a_pilot_that_says_how_many_would_decide():
    sample = Ratio.of([2.0, 2.1, 2.05])
    assert Above(1, 1.5).verdict(sample) == INCONCLUSIVE and Above(1, 1.5).seeds_needed(sample) == 5
    assert Below(1, 2).verdict(Mean([0.1, 0.1, 0.1])) == INCONCLUSIVE


def test_a_bound_that_never_arriving_gives_excludes_a_large_size():
    never = Ratio([0.0] * 5, [1.1, 0.9, 1.0, 1.05, 0.95])
    assert Above(1, 14.8).verdict(never) == NOT_REPRODUCED
    assert Above(1, 1.05).verdict(never) == INCONCLUSIVE


def test_six_of_six_seeds_decide_a_share_and_five_do_not():
    rule = Above(0.5, 0.9)
    assert [rule.verdict(Share(n, n)) for n in (3, 5, 6)] == [INCONCLUSIVE, INCONCLUSIVE, REPRODUCED]
    assert rule.verdict(Share(0, 6)) == NOT_REPRODUCED and rule.seeds_needed(Share(5, 5)) == 9


def test_rules_are_readable():
    assert str(Above(1, 14.8)) == "interval above 1; size 14.8 not excluded, estimate at least halfway to it, else PARTLY"
    assert str(Below(0.001, 0.01)) == "interval below 0.001; PARTLY below 0.01"
