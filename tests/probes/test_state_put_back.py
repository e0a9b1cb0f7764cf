"""Is a network after a measurement what it was: frozen averages, collections, generators of its own?"""

import random
from collections import deque

import numpy as np
import pytest
import torch
from foreign import OPEN, WIDE, Weighted, X, Y
from torch import nn
from torch.nn import functional as F

from bn_repro.probes import (
    ActivationProbe,
    Site,
    gradient_shift,
    landscape_along_gradient,
    magnitudes,
    step_cost,
)


class Momentum(nn.Module):
    """A key encoder that follows a query encoder in the forward pass, and what else a network may keep."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(4, 3), nn.Linear(4, 3).requires_grad_(False)
        self.numbers, self.of_numpy = random.Random(0), np.random.default_rng(0)
        self.cache, self.seen, self.last = {}, set(), deque(maxlen=2)

    def forward(self, x):
        with torch.no_grad():
            for key, query in zip(self.key.parameters(), self.query.parameters()):
                key.data = 0.9 * key.data + 0.1 * query.data
        self.cache[len(self.cache)] = x
        self.seen.add(len(self.seen))
        self.last.append(self.numbers.random() + self.of_numpy.random())
        return self.query(x) + self.key(x)


def test_frozen_averages_and_own_collections_are_put_back():
    network = Momentum()
    optimizer = torch.optim.SGD(network.query.parameters(), 0.1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    next_numbers = random.Random(0).random(), np.random.default_rng(0).random()
    ActivationProbe(network, [Site("here", network.query, False, WIDE, OPEN)])(X)
    magnitudes(network, F.cross_entropy, X, Y)
    gradient_shift(network, optimizer, F.cross_entropy, X, Y)
    landscape_along_gradient(network, F.cross_entropy, X, Y, 0.1)
    step_cost(network, Weighted(), F.cross_entropy, X, Y, 1, 1)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.cache and not network.seen and not network.last
    assert (network.numbers.random(), network.of_numpy.random()) == next_numbers


def test_lazy_networks_are_refused_and_stay_lazy():
    network = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.Linear(8, 3))
    site = Site("here", network[2], False, WIDE, OPEN)
    for measure in (lambda: ActivationProbe(network, [site])(X), lambda: step_cost(network, Weighted(), F.cross_entropy, X, Y, 1, 1)):
        with pytest.raises(ValueError, match=r"is made by its first pass"):
            measure()
    assert isinstance(network[0], nn.LazyLinear)


class Follows(nn.Module):
    """The key becomes the query in each pass, by a list that holds both."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(4, 3), nn.Linear(4, 3).requires_grad_(False)
        self.pairs = list(zip(self.key.parameters(), self.query.parameters()))

    def forward(self, x):
        with torch.no_grad():
            for key, query in self.pairs:
                key.copy_(query)
        return self.query(x) - self.key(x)


def test_a_list_of_frozen_parameters_leads_to_their_copies():
    network = Follows()
    before = network.key.weight.clone()
    logits, _ = ActivationProbe(network, [])(X)
    assert logits.abs().max() == 0 and torch.equal(network.key.weight, before)


class Quantized(nn.Parameter):
    pass


class WithScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.layer = Quantized(torch.ones(4, 4), requires_grad=False), nn.Linear(4, 3)
        self.weight.scale, self.numbers, self.system = 2.0, np.random.RandomState(0), random.SystemRandom()

    def forward(self, x):
        assert type(self.weight) is Quantized
        self.numbers.rand()
        return self.layer(F.linear(x, self.weight) * self.weight.scale)


def test_frozen_weights_keep_their_class_and_attributes():
    network = WithScale()
    with torch.no_grad():
        expected = network(X).square().mean().sqrt().item()
    drawn_before = network.numbers.get_state()[2]
    assert magnitudes(network, F.cross_entropy, X, Y)["layer/output"] == pytest.approx(expected, rel=1e-5)
    assert network.numbers.get_state()[2] == drawn_before
