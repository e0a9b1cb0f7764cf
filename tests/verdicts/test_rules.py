"""Each rule against each of its words."""

import pytest

from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, PARTLY, REPRODUCED, Above, Below
from bn_repro.verdicts.statistics import Estimate


@pytest.mark.parametrize(
    "rule, low, mean, high, expected",
    [
        (Above(1), 1.1, 2, 3, REPRODUCED),
        (Above(1), 0.9, 2, 3, INCONCLUSIVE),
        (Above(1), 0.5, 0.7, 0.9, NOT_REPRODUCED),
        (Above(1, 5), 1.1, 2, 3, PARTLY),
        (Above(1, 5), 1.1, 5.5, 9, REPRODUCED),
        (Above(1, 5), 0.9, 5.5, 9, INCONCLUSIVE),
        (Below(0.1, 1), 0.01, 0.02, 0.03, REPRODUCED),
        (Below(0.1, 1), 0.01, 0.02, 0.3, PARTLY),
        (Below(0.1, 1), 0.01, 0.02, 3, INCONCLUSIVE),
        (Below(0.1, 1), 2, 3, 4, NOT_REPRODUCED),
    ],
)
def test_verdict(rule, low, mean, high, expected):
    assert rule.verdict(Estimate(mean, low, high, 3)) == expected
