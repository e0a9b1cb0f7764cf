"""Is a step's cost that of the passes it names, memory that of what autograd keeps, and is no trace left?"""

import importlib
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from unchanged_training import assert_training_is_unchanged_by

from bn_repro.norms import BatchNorm1d, build_norm, keep_reference
from bn_repro.probes import ActivationRecorder, step_cost
from bn_repro.probes.step_cost import bytes_kept

X, Y = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
LOSS = 4 * 18 + 4  # bytes: cross entropy keeps 18 log probabilities and the total weight


class Network(nn.Module):
    """A linear layer, and what a test gives it to do with its inputs."""

    def __init__(self, forward, **attributes):
        super().__init__()
        self.fc, self.does = nn.Linear(5, 3), forward
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x, other=None):
        return self.does(self, x)


def measured(network, other=None, loss_fn=F.cross_entropy, x=X, y=Y):
    return step_cost(network, other or nn.Linear(5, 3), loss_fn, x, y, rounds=1, repeats=1)


@pytest.mark.parametrize(
    "network, kept",
    [
        (nn.Tanh(), 30),  # its output
        (nn.Linear(5, 7), 30),  # its input; the weight is a parameter
        (nn.Sequential(nn.Tanh(), nn.Sigmoid()), 60),
        (nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Unflatten(1, (1, 5)), nn.Sigmoid()), 60),  # views are no memory
        (Network(lambda self, x: (self.fc(x).exp(), self.fc(x))[1]), 30),  # what is dropped is freed
    ],
)
def test_memory_that_autograd_keeps(network, kept):
    x = X.clone().requires_grad_()
    assert bytes_kept(lambda: network(x), network.parameters()) == 4 * kept
    assert bytes_kept(lambda: network(x), (*network.parameters(), x)) in (4 * kept, 4 * (kept - 30))


@pytest.mark.parametrize("x", [X.clone(), torch.cat([X, torch.randn(100, 5)])[:6]])
def test_memory_is_beside_the_other_networks_and_without_the_batch(x):
    deep = nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 3))
    assert measured(deep, x=x)["memory"] == pytest.approx((4 * 18 + LOSS) / LOSS)
    penalized = nn.Linear(5, 3)
    assert measured(nn.Linear(5, 3), penalized, lambda logits, y: F.cross_entropy(logits, y) + 0 * penalized.weight.square().sum())


def test_times_are_of_the_passes_that_they_name(monkeypatch):
    """A clock that only a forward pass of the network, 3 s, and of the other, 1 s, and their backward passes, 8 s and 2 s, move."""
    now = [0.0]

    def moving(seconds_forward, seconds_backward):
        def advance(seconds):
            now[0] += seconds

        network = nn.Linear(5, 3)
        network.register_forward_hook(lambda *_: advance(seconds_forward))
        network.register_full_backward_hook(lambda *_: advance(seconds_backward))
        return network

    monkeypatch.setattr(importlib.import_module("bn_repro.probes.step_cost"), "perf_counter", lambda: now[0])
    found = step_cost(moving(3, 8), moving(1, 2), F.cross_entropy, X.clone().requires_grad_(), Y, rounds=3, repeats=4)
    assert [found[name] for name in ("forward", "backward", "step")] == [3, 4, pytest.approx(11 / 3)]


def test_training_is_the_same_with_and_without():
    def measure(network, _, x, y):
        with torch.random.fork_rng([]):
            other = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
        step_cost(network, other, F.cross_entropy, x, y, rounds=1)

    assert_training_is_unchanged_by(measure)


def test_running_statistics_and_gradients_of_both_stay():
    network, other = (nn.Sequential(nn.Linear(5, 3), BatchNorm1d(3)) for _ in range(2))
    before = [{name: value.clone() for name, value in one.state_dict().items()} for one in (network, other)]
    assert set(step_cost(network, other, F.cross_entropy, X, Y, rounds=1)) == {"forward", "backward", "step", "memory"}
    for one, state in zip((network, other), before):
        assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
        assert all(p.grad is None for p in one.parameters())


def test_the_pass_of_a_reference_batch_counts():
    network = nn.Sequential(nn.Linear(5, 3), build_norm("virtual_batch", 3, 0, 1e-5, 0.1))
    keep_reference(network, torch.randn(50, 5))
    small = measured(network)["memory"]
    keep_reference(network, torch.randn(500, 5))
    assert measured(network)["memory"] > 2 * small


def moving_scale(self, x):
    h = self.fc(x)
    self.scale.mul_(0.9).add_(0.1 * h.detach().std(0))
    return h * self.scale


@pytest.mark.parametrize(
    "network",
    [
        Network(moving_scale, scale=nn.Buffer(torch.ones(3))),
        nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3)),
        torch.compile(nn.Sequential(nn.Linear(5, 3), nn.Tanh()), backend="aot_eager"),
        Network(lambda self, x: checkpoint(self.fc, x, use_reentrant=False)),
        nn.Sequential(nn.Unflatten(1, (5, 1)), nn.LSTM(1, 3, batch_first=True), Network(lambda self, x: x[0].mean(1))),
        nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)),
        nn.Linear(5, 3).double(),
    ],
)
def test_networks_of_other_people(network):
    """What training takes: buffers changed in place and used, a first layer that changes its input, compiled and checkpointed parts."""
    x = X.double() if next(network.parameters()).dtype == torch.float64 else X.clone()
    other = nn.Linear(5, 3).to(x)
    before = x.clone()
    assert all(0 < value < float("inf") for value in measured(network, other, x=x).values())
    assert torch.equal(x, before) and all(p.grad is None for p in (*network.parameters(), *other.parameters()))


def test_a_reentrant_checkpoint_has_the_backward_pass_of_its_insides():
    calls = []
    inside = nn.Linear(5, 3)
    inside.weight.register_hook(lambda _: calls.append(1))
    network = Network(lambda self, x: checkpoint(inside, x, use_reentrant=True) + self.fc(x), inside=inside)
    measured(network, x=X.clone().requires_grad_())
    assert len(calls) == 2  # of the pass before the first round, and of the round


def test_what_a_module_draws_from_its_own_generator_stays():
    network = Network(lambda self, x: self.fc(x * torch.rand(5, generator=self.own)), own=torch.Generator().manual_seed(0))
    others = Network(lambda self, x: self.fc(x * random.random() * np.random.rand()))
    before = network.own.get_state(), random.getstate(), np.random.get_state()[1].copy()
    measured(network, others)
    assert torch.equal(network.own.get_state(), before[0])
    assert random.getstate() == before[1] and np.array_equal(np.random.get_state()[1], before[2])


def test_a_loss_with_state_keeps_it():
    class Centre(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("centre", torch.zeros(3))

        def forward(self, logits, y):
            self.centre += logits.detach().mean(0)
            return F.cross_entropy(logits - self.centre, y)

    loss_fn = Centre()
    measured(nn.Linear(5, 3), loss_fn=loss_fn)
    assert torch.equal(loss_fn.centre, torch.zeros(3))


@pytest.mark.parametrize("x", [{"x": X, "unused": Y}, (X, X)])
def test_inputs_are_taken_alike_with_a_recorder_around(x):
    network = Network(lambda self, x: self.fc(x))
    plain = measured(network, Network(lambda self, x: self.fc(x)), x=x)
    with ActivationRecorder(network) as recorder:
        watched = measured(network, Network(lambda self, x: self.fc(x)), x=x)
    with pytest.warns(UserWarning, match="nothing was recorded in 0 training passes"):
        recorder.arrays()
    assert watched["memory"] == plain["memory"]


@pytest.mark.parametrize(
    "networks, loss_fn, message",
    [
        ((nn.Linear(5, 3), nn.Linear(5, 3).requires_grad_(False)), F.cross_entropy, "Linear has no parameter that trains"),
        ((nn.Linear(5, 3), nn.Linear(5, 3)), lambda logits, y: logits, "one number"),
        ((Network(lambda self, x: self.fc(x).detach() + x[:, :3]), nn.Linear(5, 3)), F.cross_entropy, "does not depend on any parameter"),
        ((nn.Linear(5, 3), Network(lambda self, x: x[:, :3] + self.fc.bias)), lambda output, y: output.sum(), "keeps nothing"),
        (
            (Network(lambda self, x: torch.sparse.mm(self.a, self.fc(x)), a=nn.Buffer(torch.eye(6).to_sparse())), nn.Linear(5, 3)),
            F.cross_entropy,
            "cannot be seen",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(networks, loss_fn, message):
    with pytest.raises(ValueError, match=message):
        measured(*networks, loss_fn=loss_fn, x=X.clone().requires_grad_())


def test_an_optimizer_in_the_backward_pass_is_refused():
    network = nn.Linear(5, 3)
    network.weight.register_post_accumulate_grad_hook(lambda p: p.data.sub_(p.grad))
    with pytest.raises(ValueError, match="would act on every pass"):
        measured(network)


@pytest.mark.parametrize("counts", [{"rounds": 0}, {"repeats": 0}])
def test_no_round_is_refused(counts):
    with pytest.raises(ValueError, match="must be at least 1"):
        step_cost(nn.Linear(5, 3), nn.Linear(5, 3), F.cross_entropy, X, Y, **counts)
