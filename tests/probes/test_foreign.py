"""Do the probes measure other people's networks and loops rightly, or refuse in one line?"""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bn_repro.networks import SigmoidMLP
from bn_repro.probes import (
    ActivationProbe,
    ActivationRecorder,
    Site,
    gradient_shift,
    landscape_along_gradient,
    layer_jacobians,
    magnitudes,
    scale_invariance_errors,
    sites_around,
    undisturbed,
)

EVERYWHERE = (-float("inf"), float("inf"))


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded():
    return torch.Generator().manual_seed(0)


class Rebinding(nn.Module):
    """A batch norm as textbooks write it: statistics by other names, new tensors at each pass, one of them no buffer."""

    def __init__(self, num_features, is_eager=False):
        super().__init__()
        self.register_buffer("moving_mean", torch.zeros(num_features))
        self.moving_var, self.num_calls = torch.ones(num_features), 0
        self.ratio = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x):
        self.num_calls += 1
        if not self.training:
            return (x - self.moving_mean) / (self.moving_var + 1e-5).sqrt()
        mean, var = x.mean(0), x.var(0, correction=0)
        self.moving_mean = 0.9 * self.moving_mean + 0.1 * mean
        self.moving_var = 0.9 * self.moving_var + 0.1 * var
        self.ratio.data += 1
        self.latest = mean
        return (x - mean) / (var + 1e-5).sqrt()


class RebindingNorm(Rebinding):
    """The same, and its name says what it is."""


def state_of(network):
    return [(dict(vars(module)), dict(module._buffers), dict(module._parameters)) for module in network.modules()]


def values_of(network):
    tensors = [v for m in network.modules() for held in (vars(m), m._buffers, m._parameters) for v in held.values()]
    return [value.detach().clone() for value in tensors if isinstance(value, torch.Tensor)]


MEASUREMENTS = {
    "undisturbed": lambda network, x, y: run_undisturbed(network, x),
    "activations": lambda network, x, y: ActivationProbe(network, [Site("a", network[1], False, (-9, 9), EVERYWHERE)])(x),
    "landscape": lambda network, x, y: landscape_along_gradient(network, F.cross_entropy, x, y, 0.1),
    "magnitudes": lambda network, x, y: magnitudes(network, F.cross_entropy, x, y),
    "gradient_shift": lambda network, x, y: gradient_shift(network, sgd(network), F.cross_entropy, x, y),
    "jacobians": lambda network, x, y: layer_jacobians(network, x, seeded(), layers=["2"]),
}


def run_undisturbed(network, x):
    with undisturbed(network):
        network(x)


def sgd(network, lr=0.1):
    return torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=lr)


@pytest.mark.parametrize("name", MEASUREMENTS)
@pytest.mark.parametrize("norm", [Rebinding, RebindingNorm])
def test_statistics_are_put_back_by_name_whatever_they_are_called(name, norm):
    network = nn.Sequential(nn.Linear(3, 4), norm(4), nn.Linear(4, 3)).double().train()
    network[1].moving_var = network[1].moving_var.double()
    before, values = state_of(network), values_of(network)
    MEASUREMENTS[name](network, drawn(8, 3), torch.arange(8) % 3)
    for one, other in zip(before, state_of(network), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert mine.keys() == theirs.keys() and all(mine[key] is theirs[key] for key in mine)
    assert all(torch.equal(value, now) for value, now in zip(values, values_of(network), strict=True))


def test_a_norm_by_another_name_uses_its_batch_inside():
    """Where its class's name says that it is a norm."""
    network = nn.Sequential(RebindingNorm(3)).double().eval()
    with undisturbed(network):
        assert network(5 + drawn(50, 3)).mean(0).abs().max() < 1e-12


class Everything(nn.Module):
    """Takes a dict, or two arguments, and calls a layer twice."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, x, scale=1.0):
        return self.last(self.norm(self.first(self.first(x) * scale)))


class Two(Everything):
    """Requires both arguments."""

    def forward(self, x, scale):
        return super().forward(x, scale)


@pytest.mark.parametrize("kind, form", [(Everything, "dict"), (Everything, "tuple"), (Two, "dict"), (Two, "tuple"), (Two, "list")])
def test_inputs_may_be_dicts_and_tuples(kind, form):
    torch.manual_seed(0)
    network, x, y = kind().double(), drawn(10, 4), torch.arange(10) % 3
    inputs = {"dict": {"x": x, "scale": 2.0, "label": y}, "tuple": (x, 2.0), "list": [x, 2.0]}[form]
    bound = copy.deepcopy(network)
    bound.forward = lambda x: kind.forward(bound, x, 2.0)
    for measure in (
        lambda n, x: landscape_along_gradient(n, F.cross_entropy, x, y, 0.1),
        lambda n, x: gradient_shift(n, sgd(n), F.cross_entropy, x, y),
        lambda n, x: magnitudes(n, F.cross_entropy, x, y),
        lambda n, x: layer_jacobians(n, x, seeded(), num_examples=2),
    ):
        given, expected = measure(network, inputs), measure(bound, x)
        assert given.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(torch.as_tensor(given[name]), torch.as_tensor(value))


def conv_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    ).double()


def test_magnitudes_of_any_network():
    network, x, y = conv_network(), drawn(5, 3, 6, 6), torch.arange(5) % 3
    measured = magnitudes(network, F.cross_entropy, x, y)
    a = network[0](x)
    h = network[1](a)
    r = h.clone().relu()
    b = network[3](r)
    out = network[6](b.relu().flatten(1))
    of = {"0/affine": a, "0/output": h, "3/affine": b, "3/output": b, "6/affine": out, "6/output": out}
    of |= {f"{layer}/weight": network[int(layer)].weight for layer in "036"}
    gradients = dict(zip(of, torch.autograd.grad(F.cross_entropy(out, y), list(of.values()))))
    expected = {name: value.square().mean().sqrt().item() for name, value in of.items() if not name.endswith("weight")}
    expected |= {f"{name}_gradient": gradient.square().mean().sqrt().item() for name, gradient in gradients.items()}
    assert measured == pytest.approx(expected, rel=1e-9)


def test_magnitudes_of_a_layer_called_twice_are_over_both_calls():
    network, x, y = Everything().double(), drawn(10, 4), torch.arange(10) % 3
    h = network.first(x)
    both = torch.cat([h, network.first(h)])
    assert magnitudes(network, F.cross_entropy, x, y)["first/affine"] == pytest.approx(both.square().mean().sqrt().item())


def test_jacobians_of_any_network():
    network, x = conv_network(), drawn(5, 3, 6, 6)
    measured = layer_jacobians(network, x, seeded())
    assert {name.split("/")[0] for name in measured} == {"0", "3", "6"}
    a = network[0](x).detach()
    var, mean = torch.var_mean(a, (0, 2, 3), correction=0, keepdim=True)

    def frozen(u):
        return (network[0](u) - mean) / (var + 1e-5).sqrt()

    dense = torch.autograd.functional.jacobian(frozen, x[:1]).reshape(64, -1)
    torch.testing.assert_close(torch.from_numpy(measured["0/singular_values"][0]), torch.linalg.svdvals(dense), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(torch.from_numpy(measured["6/singular_values"][0]), torch.linalg.svdvals(network[6].weight.detach()))
    chosen = layer_jacobians(network, x, seeded(), layers=["3"])
    assert {name.split("/")[0] for name in chosen} == {"3"}
    with pytest.raises(ValueError, match="layer '0' has no nonlinearity of its own"):
        layer_jacobians(network, x, seeded(), has_nonlinearity=True, layers=["0"])
    with pytest.raises(ValueError, match="no layer 'conv9' to measure; choices: 0, 3, 6"):
        layer_jacobians(network, x, seeded(), layers=["conv9"])


def test_a_norm_with_activation_ends_the_map_where_it_is_asked_to():
    from timm.layers import BatchNormAct2d

    network = nn.Sequential(nn.Conv2d(3, 4, 1), BatchNormAct2d(4)).double()
    x = drawn(5, 3, 4, 4)
    a = network[0](x).detach()
    var, mean = torch.var_mean(a, (0, 2, 3), correction=0, keepdim=True)

    def frozen(u):
        return (network[0](u) - mean) / (var + 1e-5).sqrt()

    for has_nonlinearity, f in ((False, frozen), (True, lambda u: frozen(u).relu())):
        dense = torch.autograd.functional.jacobian(f, x[:1]).reshape(64, -1)
        measured = layer_jacobians(network, x, seeded(), has_nonlinearity=has_nonlinearity)["0/singular_values"][0]
        torch.testing.assert_close(torch.from_numpy(measured), torch.linalg.svdvals(dense), rtol=1e-7, atol=1e-9)


class Frozen(nn.Module):
    """Keeps running statistics that it never changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("running_mean", torch.ones(4))
        self.register_buffer("running_var", torch.full((4,), 4.0))

    def forward(self, x):
        return (x - self.running_mean) / (self.running_var + 1e-5).sqrt()


@pytest.mark.parametrize("norm", ["no_statistics", "not_tracking", "instance", "instance_running", "frozen", "half", "cumulative"])
def test_jacobians_hold_the_statistics_of_any_norm(norm):
    norms = {
        "no_statistics": nn.BatchNorm1d(4, track_running_stats=False),
        "not_tracking": nn.BatchNorm1d(4),
        "instance": nn.InstanceNorm1d(4),
        "instance_running": nn.InstanceNorm1d(4, track_running_stats=True),
        "frozen": Frozen(),
        "half": nn.BatchNorm1d(4),
        "cumulative": nn.BatchNorm1d(4, momentum=None),
    }
    network = nn.Sequential(nn.Conv1d(3, 4, 1) if "instance" in norm else nn.Linear(3, 4), norms[norm]).double()
    network[1].track_running_stats = norm == "instance_running" or norm == "half" or norm == "cumulative"
    x = drawn(6, 3, 5) if "instance" in norm else drawn(6, 3)
    if norm == "half":
        network = network.bfloat16()
        x = x.bfloat16()
    measured = layer_jacobians(network, x, seeded())["0/singular_values"][0]
    exact, x = copy.deepcopy(network).double(), x.double()
    a = exact[0](x).detach()
    if "instance" in norm:
        dense = torch.autograd.functional.jacobian(lambda u: F.instance_norm(exact[0](u)), x[:1]).reshape(20, -1)
    else:
        sigma = (4 + 1e-5) ** 0.5 if norm == "frozen" else (a.var(0, correction=0) + 1e-5).sqrt()
        dense = torch.autograd.functional.jacobian(lambda u: exact[0](u) / sigma, x[:1]).reshape(4, -1)
    expected = torch.linalg.svdvals(dense)[: len(measured)]
    torch.testing.assert_close(torch.from_numpy(measured).double(), expected, rtol=1e-2 if norm == "half" else 1e-7, atol=1e-7)


def test_jacobians_refuse_a_norm_that_holds_nothing():
    network = nn.Sequential(nn.Linear(3, 4), RebindingNorm(4)).double()
    network[1].moving_var = network[1].moving_var.double()
    with pytest.raises(ValueError, match="layer '0' has a norm whose batch statistics cannot be held"):
        layer_jacobians(network, drawn(6, 3), seeded())


def test_networks_without_layers_are_refused():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, 3))

        def forward(self, x):
            return x @ self.w

    network, x, y = Functional(), torch.ones(4, 3), torch.arange(4) % 3
    for measure in (
        lambda: magnitudes(network, F.cross_entropy, x, y),
        lambda: layer_jacobians(network, x, seeded()),
        lambda: gradient_shift(network, sgd(network), F.cross_entropy, x, y),
        lambda: scale_invariance_errors(network, x, 10.0, seeded()),
    ):
        with pytest.raises(ValueError) as refused:
            measure()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("what", ["vector", "no_tensor", "no_gradient", "nothing_trains"])
def test_losses_that_cannot_be_differentiated_are_refused(what):
    network, x, y = nn.Sequential(nn.Linear(4, 3)).double(), drawn(6, 4), torch.arange(6) % 3
    network.requires_grad_(what != "nothing_trains")
    loss_fn = {
        "vector": lambda output, y: F.cross_entropy(output, y, reduction="none"),
        "no_tensor": lambda output, y: 1.0,
        "no_gradient": lambda output, y: F.cross_entropy(output.detach(), y),
        "nothing_trains": F.cross_entropy,
    }[what]
    with pytest.raises(ValueError, match="no parameter that trains" if what == "nothing_trains" else "must return one number"):
        landscape_along_gradient(network, loss_fn, x, y, 0.1)


def test_a_site_that_is_no_activation_is_refused():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 3)

        def forward(self, x):
            return self.lstm(x)[0]

    network = Recurrent()
    with pytest.raises(ValueError, match=r"site 'here' needs a tensor of real numbers \(N, C, ...\), not a tuple, not a tensor"):
        ActivationProbe(network, [Site("here", network.lstm, False, (-9, 9), EVERYWHERE)])(torch.randn(5, 2, 4))


def test_a_recorder_does_not_count_what_probes_run():
    """One training pass and each of the probes inside: step 0 alone."""
    torch.manual_seed(0)
    network, x, y = SigmoidMLP(6, 3, depth=2, width=5), drawn(20, 6).float(), torch.arange(20) % 3
    probe, optimizer = ActivationProbe(network, sites_around(network)), sgd(network)
    with ActivationRecorder(network, every=1) as recorder:
        F.cross_entropy(network(x), y).backward()
        landscape_along_gradient(network, F.cross_entropy, x, y, 0.1)
        gradient_shift(network, optimizer, F.cross_entropy, x, y)
        magnitudes(network, F.cross_entropy, x, y)
        layer_jacobians(network, x, seeded())
        probe(x)
        scale_invariance_errors(network, x, 10.0, seeded())
    assert recorder.arrays()["step"].tolist() == [0] and recorder.step == 1
