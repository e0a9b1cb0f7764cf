"""Is the learning rate of a step what its schedule says?"""

import dataclasses

import pytest
from composed import smoke

from bn_repro.config import SCHEDULES
from bn_repro.training.schedule import lr_at


def config(schedule, ratio=0.01):
    return dataclasses.replace(smoke().train, schedule=schedule, lr=2.0, steps=100, final_lr_ratio=ratio)


@pytest.mark.parametrize(
    "schedule, ratio, expected",
    [
        ("constant", 0.01, {0: 2.0, 50: 2.0, 100: 2.0}),
        ("exponential", 0.01, {0: 2.0, 25: 2 * 10**-0.5, 50: 0.2, 75: 2 * 10**-1.5, 100: 0.02}),
        ("cosine", 0.1, {0: 2.0, 25: 0.2 + 0.9 * (1 + 0.5**0.5), 50: 1.1, 100: 0.2}),
        ("exponential", 1.0, {0: 2.0, 50: 2.0}),
        ("cosine", 1.0, {0: 2.0, 50: 2.0}),
    ],
)
def test_values_by_hand(schedule, ratio, expected):
    assert {step: lr_at(step, config(schedule, ratio)) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_choice_of_the_config_falls_or_stays(schedule):
    rates = [lr_at(step, config(schedule)) for step in range(101)]
    assert rates[0] == 2.0 and all(later <= earlier for earlier, later in zip(rates, rates[1:]))
