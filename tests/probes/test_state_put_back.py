"""Is a network after a measurement what it was: frozen averages, collections, generators of its own?"""

import random
from collections import deque

import numpy as np
import pytest
import torch
from foreign import OPEN, WIDE, Weighted, X, Y
from torch import nn
from torch.nn import functional as F

from bn_repro.norms import estimate_population_statistics
from bn_repro.norms.modes import keeping_state
from bn_repro.probes import (
    ActivationProbe,
    Site,
    folding_error,
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


class Remembering(nn.Module):
    """Adds a running mean of its activations, kept in some container, to what it returns; and makes things in its first pass."""

    def __init__(self, keep):
        super().__init__()
        self.layer, self.norm, self.memory, self.made = nn.Linear(4, 3), nn.BatchNorm1d(3), keep(torch.zeros(3)), None

    def the_mean(self):
        kept = self.memory
        while not isinstance(kept, (torch.Tensor, np.ndarray)):
            kept = kept["of"] if isinstance(kept, dict) else kept[0]
        return torch.as_tensor(kept)

    def forward(self, x):
        h = self.norm(self.layer(x)) + 1
        with torch.no_grad():
            self.the_mean().mul_(0.9).add_(h.mean(0), alpha=0.1)
        if self.made is None:
            self.made = nn.Linear(3, 3)
        self.state = (h.detach(),)
        return self.made(torch.tanh(h) + self.the_mean())


@pytest.mark.parametrize(
    "keep", [lambda t: [t], lambda t: (t,), lambda t: {"of": [t]}, lambda t: ([t],), lambda t: t.numpy(), lambda t: [t.numpy()]]
)
def test_what_is_kept_within_collections_is_put_back_and_what_is_made_taken_away(keep):
    network = Remembering(keep)
    estimate_population_statistics(network, [X])
    assert not network.the_mean().any() and network.made is None and not hasattr(network, "state")
    assert [name for name, _ in network.named_children()] == ["layer", "norm"]
    network.made = nn.Linear(3, 3)
    along = landscape_along_gradient(network, F.cross_entropy, X, Y, 1e-9)
    assert along["loss_max"] == pytest.approx(along["loss"], rel=1e-6)
    shift = gradient_shift(network, torch.optim.SGD(network.parameters(), 1e-9), F.cross_entropy, X, Y)
    assert shift["layer/relative"] < 1e-5 and not network.the_mean().any()


def test_a_collection_that_holds_itself_is_copied_once():
    network = Remembering(lambda t: [t])
    network.memory.append(network.memory)
    network.also, before = network.memory, network.memory[0]
    with keeping_state(network):
        assert network.also is network.memory is network.memory[1] and network.memory[0] is not before
    assert network.memory[0] is before
    assert network.also is network.memory is network.memory[1]


class Clipped(nn.Module):
    """Constrains its own weights as it passes, as EEGNet's max-norm layers do and critics with clipped weights."""

    def __init__(self, constrain):
        super().__init__()
        self.constrain = constrain
        self.layer, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        self.constrain(self.layer.weight)
        return self.norm(self.layer(x))


def rescale(weight):
    weight.data = torch.renorm(weight.data, 2, 0, 0.1)


def clip(weight):
    weight.data.clamp_(-0.1, 0.1)


def clip_without_gradient(weight):
    with torch.no_grad():
        weight.clamp_(-0.1, 0.1)


@pytest.mark.parametrize("constrain", [rescale, clip, clip_without_gradient])
def test_weights_that_a_pass_constrains_have_their_values_back(constrain):
    network = Clipped(constrain)
    weight, memory, before = network.layer.weight, network.layer.weight.data_ptr(), network.layer.weight.detach().clone()
    estimate_population_statistics(network, [X])
    ActivationProbe(network, [Site("here", network.layer, False, WIDE, OPEN)])(X)
    magnitudes(network, F.cross_entropy, X, Y)
    gradient_shift(network, torch.optim.SGD(network.parameters(), 0.1), F.cross_entropy, X, Y)
    landscape_along_gradient(network, F.cross_entropy, X, Y, 0.1)
    step_cost(network, Weighted(), F.cross_entropy, X, Y, 1, 1)
    assert network.layer.weight is weight and weight.data_ptr() == memory and torch.equal(weight, before)


def test_sparse_parameters_are_let_be():
    class Sparse(Weighted):
        def __init__(self):
            super().__init__()
            self.sparse = nn.Parameter(torch.eye(4).to_sparse())

        def forward(self, x):
            return super().forward(torch.sparse.mm(self.sparse, x.T).T)

    network = Sparse()
    ActivationProbe(network, [Site("here", network.a, False, WIDE, OPEN)])(X)
    assert torch.equal(network.sparse.to_dense(), torch.eye(4))


def test_a_teacher_in_a_plain_list_is_put_back():
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.layer = {"teachers": [nn.BatchNorm1d(4)]}, nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(self.hidden["teachers"][0](x))

    network = Student()
    (teacher,) = network.hidden["teachers"]
    magnitudes(network, F.cross_entropy, X, Y)
    assert network.hidden["teachers"] == [teacher] and not teacher.running_mean.any() and teacher.num_batches_tracked == 0


class Graph:
    """An input of a class of its own, which networks write to."""

    def __init__(self, x):
        self.x = x


class OfGraphs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, graph):
        graph.x = self.norm(self.layer(graph.x)).relu()
        return self.last(graph.x)


def test_inputs_of_a_class_of_its_own_are_copied_for_each_pass():
    network, graph, batches = OfGraphs(), Graph(X), [Graph(X), Graph(X + 1)]
    assert gradient_shift(network, torch.optim.SGD(network.parameters(), 1e-12), F.cross_entropy, graph, Y)["last/relative"] == 0
    along = landscape_along_gradient(network, F.cross_entropy, graph, Y, 1e-9)
    assert along["loss_max"] == pytest.approx(along["loss"], rel=1e-6)
    assert folding_error(network.eval(), graph)[1] < 1e-5
    estimate_population_statistics(network, batches)
    before = network.norm.running_mean.clone()
    estimate_population_statistics(network, batches)
    assert torch.equal(network.norm.running_mean, before)
    assert graph.x is X


def test_an_input_that_cannot_be_copied_is_refused():
    class Locked(Graph):
        def __deepcopy__(self, memo):
            raise RuntimeError("no copies of this one")

    with pytest.raises(ValueError, match="an input of class Locked cannot be copied .no copies of this one"):
        magnitudes(OfGraphs(), F.cross_entropy, Locked(X), Y)
