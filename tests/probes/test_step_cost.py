"""Is a step's cost that of the passes it names, memory that of what autograd keeps, and is no trace left?"""

import importlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unchanged_training import assert_training_is_unchanged_by

from bn_repro.norms import BatchNorm1d, build_norm, keep_reference
from bn_repro.probes import step_cost
from bn_repro.probes.step_cost import bytes_kept

X, Y = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


@pytest.mark.parametrize(
    "network, kept",
    [
        (nn.Tanh(), 30),  # its output
        (nn.Linear(5, 7), 30),  # its input; the weight is a parameter
        (nn.Sequential(nn.Tanh(), nn.Sigmoid()), 60),
        (nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Unflatten(1, (1, 5)), nn.Sigmoid()), 60),  # views are no memory
    ],
)
def test_memory_that_autograd_keeps(network, kept):
    x = X.clone().requires_grad_()
    assert bytes_kept(network, lambda: network(x)) == 4 * kept


def test_memory_is_beside_the_other_networks():
    """Cross entropy keeps its log probabilities, 18 numbers, and with the 6 labels and the total weight 6 * 8 + 4 bytes."""
    loss, linear = 4 * 18 + 6 * 8 + 4, nn.Linear(5, 3)
    measured = step_cost(nn.Sequential(nn.Tanh(), linear), linear, F.cross_entropy, X.clone(), Y, rounds=1)
    assert measured["memory"] == pytest.approx((4 * 30 + loss) / (4 * 30 + loss))  # tanh of inputs without gradient keeps nothing
    deep = nn.Sequential(linear, nn.Tanh(), nn.Linear(3, 3))
    measured = step_cost(deep, linear, F.cross_entropy, X.clone(), Y, rounds=1)
    assert measured["memory"] == pytest.approx((4 * 30 + 4 * 18 + loss) / (4 * 30 + loss))


def test_times_are_of_the_passes_that_they_name(monkeypatch):
    calls = {"forward": 0, "backward": 0}
    network, other = nn.Linear(5, 3), nn.Linear(5, 3)
    network.register_forward_hook(lambda *_: calls.update(forward=calls["forward"] + 1))
    network.weight.register_hook(lambda _: calls.update(backward=calls["backward"] + 1))
    counted = []

    def ratios(above, below, rounds, settle):
        before = dict(calls)
        above()
        counted.append(tuple(calls[name] - before[name] for name in calls))
        below()
        return [1.0, 5.0, 2.0][:rounds]

    monkeypatch.setattr(importlib.import_module("bn_repro.probes.step_cost"), "ratios", ratios)
    measured = step_cost(network, other, F.cross_entropy, X, Y, rounds=3, repeats=4)
    assert counted == [(4, 0), (0, 4), (4, 4)]
    assert [measured[name] for name in ("forward", "backward", "both")] == [2.0] * 3


def test_training_is_the_same_with_and_without():
    def measure(network, _, x, y):
        with torch.random.fork_rng([]):
            other = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
        step_cost(network, other, F.cross_entropy, x, y, rounds=1)

    assert_training_is_unchanged_by(measure)


def test_running_statistics_and_gradients_of_both_stay():
    network, other = (nn.Sequential(nn.Linear(5, 3), BatchNorm1d(3)) for _ in range(2))
    before = [{name: value.clone() for name, value in one.state_dict().items()} for one in (network, other)]
    assert set(step_cost(network, other, F.cross_entropy, X, Y, rounds=1)) == {"forward", "backward", "both", "memory"}
    for one, state in zip((network, other), before):
        assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
        assert all(p.grad is None for p in one.parameters())


def test_the_pass_of_a_reference_batch_counts():
    network = nn.Sequential(nn.Linear(5, 3), build_norm("virtual_batch", 3, 0, 1e-5, 0.1))
    keep_reference(network, torch.randn(50, 5))
    small = step_cost(network, nn.Linear(5, 3), F.cross_entropy, X, Y, rounds=1)["memory"]
    keep_reference(network, torch.randn(500, 5))
    assert step_cost(network, nn.Linear(5, 3), F.cross_entropy, X, Y, rounds=1)["memory"] > 2 * small


def test_what_has_no_gradient_is_refused():
    frozen = nn.Linear(5, 3).requires_grad_(False)
    with pytest.raises(ValueError, match="Linear has no parameter that trains"):
        step_cost(nn.Linear(5, 3), frozen, F.cross_entropy, X, Y)
    with pytest.raises(ValueError, match="one number"):
        step_cost(nn.Linear(5, 3), nn.Linear(5, 3), lambda logits, y: logits, X, Y)
