"""Are the learning rates of a step, also those of each layer, what the schedule says?"""

import dataclasses

import pytest
import torch
from composed import smoke

from bn_repro.config import SCHEDULES
from bn_repro.training.schedule import at_rates_of, lr_at, set_rates


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
        ("slanted_triangular", 1 / 32, {0: 1 / 16, 5: 1 / 16 + 0.5 * 31 / 16, 10: 2.0, 55: 1 / 16 + 0.5 * 31 / 16, 100: 1 / 16}),
    ],
)
def test_values_by_hand(schedule, ratio, expected):
    assert {step: lr_at(step, config(schedule, ratio)) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_choice_of_the_config_falls_or_stays(schedule):
    first = 10 if schedule == "slanted_triangular" else 0
    rates = [lr_at(step, config(schedule)) for step in range(first, 101)]
    assert rates[0] == 2.0 and all(later <= earlier for earlier, later in zip(rates, rates[1:]))


def layered(**knobs):
    """Return an optimizer of three layers, bottom first, and the settings of a constant schedule."""
    layers = [torch.nn.Parameter(torch.ones(1)) for _ in range(3)]
    optimizer = torch.optim.SGD([{"params": [layer]} for layer in layers], lr=9.0)
    return layers, optimizer, dataclasses.replace(config("constant"), **knobs)


def test_each_layer_learns_slower_than_the_one_above():
    _, optimizer, settings = layered(layer_lr_ratio=0.5)
    set_rates(optimizer, 0, settings)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 1.0, 2.0]


def test_layers_thaw_from_the_top_one_by_one():
    layers, optimizer, settings = layered(unfreeze_every=10)
    trains = {}
    for step in (0, 9, 10, 19, 20, 99, 0):
        set_rates(optimizer, step, settings)
        trains[step] = [layer.requires_grad for layer in layers]
    assert trains[9] == trains[0] == [False, False, True]
    assert trains[10] == trains[19] == [False, True, True] and trains[20] == trains[99] == [True] * 3


def test_a_look_at_another_steps_rates_leaves_the_optimizer_as_it_was():
    layers, optimizer, settings = layered(unfreeze_every=10, layer_lr_ratio=0.5)
    with pytest.raises(RuntimeError), at_rates_of(optimizer, 12, settings):
        assert [layer.requires_grad for layer in layers] == [False, True, True] and optimizer.param_groups[2]["lr"] == 2.0
        raise RuntimeError
    assert [layer.requires_grad for layer in layers] == [True] * 3
    assert [group["lr"] for group in optimizer.param_groups] == [9.0] * 3
