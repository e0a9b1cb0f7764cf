"""Is the shift of a gradient what the formulas give by hand, with the very step that the optimizer makes, and without a trace?"""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unchanged_training import Convolutional, assert_training_is_unchanged_by

from bn_repro.networks import SigmoidMLP
from bn_repro.probes import gradient_shift


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def half_squared_error(output, targets):
    return ((output - targets) ** 2).sum() / (2 * len(output))


def test_two_linear_layers_by_hand():
    """h = W1 x, o = W2 h, loss = sum (o - t)^2 / 2N. With e = o - t: G2 = e' h / N and G1 = W2' e' x / N.

    SGD: v = 0.9 v + G1 + 0.01 W1, W1 <- W1 - 0.2 v. Then G2' is G2 at the new W1.
    """
    network = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)).double()
    x, t, v = drawn(5, 4, seed=1), drawn(5, 2, seed=2), drawn(3, 4, seed=3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)
    optimizer.state[network[0].weight]["momentum_buffer"] = v.clone()
    W1, W2 = (layer.weight.detach().clone() for layer in network)
    h = x @ W1.T
    e = h @ W2.T - t
    G2, G1 = e.T @ h / 5, W2.T @ e.T @ x / 5
    W1_after = W1 - 0.2 * (0.9 * v + G1 + 0.01 * W1)
    h_after = x @ W1_after.T
    G2_after = (h_after @ W2.T - t).T @ h_after / 5
    expected = {
        "0/shift": 0,
        "0/relative": 0,
        "0/cosine": 1,
        "0/gradient_norm": (G1**2).sum().sqrt(),
        "1/shift": ((G2 - G2_after) ** 2).sum().sqrt(),
        "1/relative": ((G2 - G2_after) ** 2).sum().sqrt() / (G2**2).sum().sqrt(),
        "1/cosine": (G2 * G2_after).sum() / ((G2**2).sum() * (G2_after**2).sum()).sqrt(),
        "1/gradient_norm": (G2**2).sum().sqrt(),
    }
    measured = gradient_shift(network, optimizer, half_squared_error, x, t)
    assert measured == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-10, rel=1e-10)
    assert measured["1/shift"] > 0.1 and abs(measured["1/cosine"]) < 0.999


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_a_deep_network_with_batch_norm_equals_steps_really_made(make):
    """For each layer, a copy takes the whole step and gets the values of that layer and of all above it back."""
    torch.manual_seed(0)
    network = SigmoidMLP(6, 3, depth=3, width=5, norm="batch").double()
    optimizer = make(network.parameters(), lr=0.3, weight_decay=0.1)
    x, y = drawn(20, 6, seed=1), torch.arange(20) % 3
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    measured = gradient_shift(network, optimizer, F.cross_entropy, x, y)
    names = [f"hidden.{layer}.affine" for layer in range(3)] + ["output"]
    assert [name for name in measured if name.endswith("shift")] == [f"{name}/shift" for name in names]

    def gradient_of(network, name):
        weight = network.get_submodule(name).weight
        return torch.autograd.grad(F.cross_entropy(network(x), y), weight)[0]

    stepped, step = copy.deepcopy((network, optimizer))
    step.zero_grad()
    F.cross_entropy(stepped(x), y).backward()
    step.step()
    for depth, name in enumerate(names):
        partly = copy.deepcopy(stepped)
        kept = tuple(f"hidden.{layer}." for layer in range(depth, 3)) + ("output.",)
        with torch.no_grad():
            for (parameter, value), old in zip(partly.named_parameters(), network.parameters()):
                if parameter.startswith(kept):
                    value.copy_(old)
        shift = (gradient_of(network, name) - gradient_of(partly, name)).norm().item()
        assert measured[f"{name}/shift"] == pytest.approx(shift, rel=1e-9, abs=1e-14)
    chosen = gradient_shift(network, optimizer, F.cross_entropy, x, y, layers=["hidden.2"])
    assert chosen["hidden.2/shift"] == pytest.approx(measured["hidden.2.affine/shift"], rel=1e-9)


def test_the_order_is_that_of_the_calls():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, x):
            return self.last(self.first(x))

    network = Backwards()
    measured = gradient_shift(
        network, torch.optim.SGD(network.parameters(), lr=1.0), half_squared_error, drawn(5, 4).float(), drawn(5, 2).float()
    )
    assert list(measured)[0].startswith("first/") and measured["first/shift"] == 0 < measured["last/shift"]


def test_an_optimizer_that_does_not_move_shifts_nothing():
    network = Convolutional()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.0)
    x, y = drawn(12, 3, 6, 6).float(), torch.arange(12) % 4
    measured = gradient_shift(network, optimizer, F.cross_entropy, x, y)  # dropout must meet the same random numbers twice
    assert all(value == 0 for name, value in measured.items() if name.endswith("shift"))


def test_training_is_the_same_with_and_without():
    assert_training_is_unchanged_by(lambda network, optimizer, x, y: gradient_shift(network, optimizer, F.cross_entropy, x, y))


def test_an_unknown_layer_is_refused_with_the_choices():
    network = Convolutional()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="layer 'conv3' .* conv1, conv2, fc1, fc2"):
        gradient_shift(network, optimizer, F.cross_entropy, drawn(12, 3, 6, 6).float(), torch.arange(12) % 4, layers=["conv3"])


class Scaled(nn.Module):
    """Owns a gamma that it uses after its children, as ConvNeXt's blocks do, and one that it uses before."""

    def __init__(self):
        super().__init__()
        self.early, self.gamma = nn.Parameter(torch.full((4,), 1.5)), nn.Parameter(torch.full((4,), 0.5))
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

    def forward(self, x):
        return x + self.gamma * self.second(self.first(self.early * x))


def steps_really_made(network, x, t, moved, layer):
    """Return the shift of one layer's gradient where the named parameters alone take a step of SGD of 0.3."""

    def gradient_of(network):
        return torch.autograd.grad(half_squared_error(network(x), t), network.get_submodule(layer).weight)[0]

    stepped = copy.deepcopy(network)
    half_squared_error(stepped(x), t).backward()
    with torch.no_grad():
        for name, parameter in stepped.named_parameters():
            if name in moved:
                parameter -= 0.3 * parameter.grad
    return (gradient_of(network) - gradient_of(stepped)).norm().item()


def test_a_parents_parameter_counts_where_it_is_used():
    torch.manual_seed(0)
    network, x, t = nn.Sequential(Scaled()).double(), drawn(5, 4), drawn(5, 4, seed=1)
    measured = gradient_shift(network, torch.optim.SGD(network.parameters(), lr=0.3), half_squared_error, x, t)
    for layer, moved in (("0.first", {"0.early"}), ("0.second", {"0.early", "0.first.weight"})):
        expected = steps_really_made(network, x, t, moved, layer)
        assert measured[f"{layer}/shift"] == pytest.approx(expected, rel=1e-9) and expected > 1e-3


def test_the_layers_of_a_convnext():
    """Its first block's gamma, used after the block's layers, does not move them; the published order had it before them."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model("test_convnext", num_classes=3, drop_path_rate=0.0, ls_init_value=0.5).double()
    x, y = drawn(2, 3, 32, 32), torch.arange(2)
    gamma = network.stages[0].blocks[0].gamma
    frozen = torch.optim.SGD([gamma], lr=1.0)
    measured = gradient_shift(network, frozen, F.cross_entropy, x, y, layers=["stages.0.blocks.0.mlp.fc2", "stages.1.blocks.0.mlp.fc1"])
    assert measured["stages.0.blocks.0.mlp.fc2/shift"] == 0 < measured["stages.1.blocks.0.mlp.fc1/shift"]


def test_a_weight_that_is_read_before_its_layer_is_called_stays_the_layers():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

        def forward(self, x):
            return self.second(self.first(F.linear(x, self.second.weight)))

    torch.manual_seed(0)
    network, x, t = Reading().double(), drawn(5, 4), drawn(5, 4, seed=1)
    measured = gradient_shift(network, torch.optim.SGD(network.parameters(), lr=0.3), half_squared_error, x, t)
    for layer, moved in (("first", {"second.weight"}), ("second", {"first.weight"})):
        assert measured[f"{layer}/shift"] == pytest.approx(steps_really_made(network, x, t, moved, layer), rel=1e-9)


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()


class Sharp(torch.optim.SGD):
    def step(self, closure=None):
        assert closure is not None, "needs a closure"


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda network: torch.optim.SGD(two_layers().parameters(), lr=0.1), "holds none of Sequential's parameters"),
        (lambda network: torch.optim.LBFGS(network.parameters()), "LBFGS cannot step on one gradient without a closure"),
        (lambda network: Sharp(network.parameters(), lr=0.1), "Sharp cannot step on one gradient without a closure"),
    ],
)
def test_optimizers_whose_step_is_unknown_are_refused(make, why):
    network = two_layers()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match=why):
        gradient_shift(network, make(network), half_squared_error, drawn(5, 4), drawn(5, 2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_scheduler_sparse_gradients_recurrence_and_weight_norm():
    network, x, t = two_layers(), drawn(5, 4), drawn(5, 2)
    plain = gradient_shift(network, torch.optim.SGD(network.parameters(), lr=0.1), half_squared_error, x, t)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # puts a function of its own in the place of `step`
    before = copy.deepcopy(network.state_dict())
    assert gradient_shift(network, optimizer, half_squared_error, x, t) == plain
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())

    words = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Linear(4, 2))
    measured = gradient_shift(words, torch.optim.SGD(words.parameters(), lr=0.1), half_squared_error, torch.arange(5), torch.zeros(5, 2))
    assert measured["0/shift"] == 0 < measured["1/shift"]
    normed = two_layers()
    nn.utils.parametrizations.weight_norm(normed[2])
    measured = gradient_shift(normed, torch.optim.SGD(normed.parameters(), lr=0.1), half_squared_error, x, t)
    assert list(measured)[4].startswith("2/") and measured["2/shift"] > 0
