"""Are the singular values those of the Jacobian written out, for linear layers and convolutions, by example and by batch?"""

import copy

import pytest
import torch
from torch import nn
from unchanged_training import assert_training_is_unchanged_by

from bn_repro.networks import NormedLayer, SigmoidMLP
from bn_repro.norms import BatchNorm1d, BatchNorm2d, build_norm
from bn_repro.probes import jacobian, layer_jacobians

EPS = 1e-5


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded():
    return torch.Generator().manual_seed(0)


def deep(norm="batch", nonlinearity="sigmoid"):
    network = SigmoidMLP(12, 3, depth=2, width=7, norm=norm, nonlinearity=nonlinearity).double()
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=number))
    return network


@pytest.mark.parametrize("has_nonlinearity", [False, True])
def test_a_linear_layer_is_diag_g_gamma_over_sigma_times_W(has_nonlinearity):
    network, x = deep(), drawn(20, 12, seed=9)
    measured = layer_jacobians(network, x, seeded(), num_examples=3, has_nonlinearity=has_nonlinearity)
    u = x
    for name, layer in (("hidden.0", network.hidden[0]), ("hidden.1", network.hidden[1])):
        W, gamma, beta = (tensor.detach() for tensor in (layer.affine.weight, layer.norm.gamma, layer.norm.beta))
        a = u @ W.T
        sigma = (a.var(0, correction=0) + EPS).sqrt()
        z = (gamma * (a - a.mean(0)) / sigma + beta).sigmoid()
        expected = []
        for example in range(3):
            slope = z[example] * (1 - z[example]) if has_nonlinearity else 1
            expected.append(torch.linalg.svdvals((slope * gamma / sigma)[:, None] * W))
        values = torch.from_numpy(measured[f"{name}/singular_values"])
        torch.testing.assert_close(values, torch.stack(expected), rtol=1e-9, atol=1e-12)
        assert measured[f"{name}/mean_square"] == pytest.approx((values**2).mean().item()) and measured[f"{name}/is_exact"]
        u = z


def test_without_norm_it_is_W():
    network = deep("none", "identity")
    measured = layer_jacobians(network, drawn(20, 12), seeded(), num_examples=2, layers=["hidden.1"])
    assert {name.split("/")[0] for name in measured} == {"hidden.1"}
    expected = torch.linalg.svdvals(network.hidden[1].affine.weight.detach())
    torch.testing.assert_close(torch.from_numpy(measured["hidden.1/singular_values"]), expected.expand(2, -1), rtol=1e-9, atol=0)
    assert 0.98 < measured["hidden.1/batch_largest"] / expected[0].item() <= 1 + 1e-9


def convolutional(norm="batch"):
    torch.manual_seed(0)
    affine = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3, bias=False), nn.Conv2d(6, 5, 1, bias=False))
    layer = NormedLayer(affine, build_norm(norm, 5, 2, EPS, 0.1), nn.ReLU(inplace=True))
    return nn.ModuleDict({"layer": layer}).double(), drawn(4, 3, 6, 6)


class Only(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("norm", ["batch", "noisy_batch", "outside_gradient", "none"])
def test_a_convolution_and_its_batch(norm):
    """The frozen map of one example, and the map of the whole batch by torch's own dense Jacobian."""
    modules, x = convolutional(norm)
    network = Only(modules["layer"])
    measured = layer_jacobians(network, x, seeded(), has_nonlinearity=True)
    a = network.layer.affine(x).detach()
    var, mean = torch.var_mean(a, dim=(0, 2, 3), correction=0, keepdim=True)
    sigma, mean = ((var + EPS).sqrt(), mean) if norm != "none" else (torch.ones_like(var), torch.zeros_like(mean))

    def frozen(u):
        return ((network.layer.affine(u) - mean) / sigma).relu()

    def of_batch(u):
        a = network.layer.affine(u)
        if norm == "none":
            return a.relu()
        moments = torch.var_mean(a, dim=(0, 2, 3), correction=0, keepdim=True)
        v, m = (moment.detach() if norm == "outside_gradient" else moment for moment in moments)
        return ((a - m) / (v + EPS).sqrt()).relu()

    def singular_values(f, u):
        dense = torch.autograd.functional.jacobian(f, u)
        return torch.linalg.svdvals(dense.reshape(-1, u.numel()))

    torch.testing.assert_close(torch.from_numpy(measured["layer/singular_values"][0]), singular_values(frozen, x[:1]), rtol=1e-7, atol=1e-9)
    largest = singular_values(of_batch, x)[0].item()
    assert 0.99 * largest < measured["layer/batch_largest"] <= largest * (1 + 1e-9)


def test_of_a_large_one_the_largest_are_estimated_from_below(monkeypatch):
    modules, x = convolutional()
    network = Only(modules["layer"])
    exact = layer_jacobians(network, x, seeded(), num_examples=2)
    monkeypatch.setattr(jacobian, "MAX_DENSE", 100)
    estimated = layer_jacobians(network, x, seeded(), num_examples=2)
    assert exact["layer/is_exact"] and not estimated["layer/is_exact"]
    values, truth = estimated["layer/singular_values"], exact["layer/singular_values"][:, :8]
    assert values.shape == (2, 8) and (values <= truth * (1 + 1e-9)).all() and (values > 0.98 * truth).all()
    assert estimated["layer/mean_square"] == pytest.approx(exact["layer/mean_square"], rel=0.2)


def test_the_statistics_are_of_the_batch_and_biased():
    layer = NormedLayer(nn.Identity(), BatchNorm1d(4, momentum=0.3).double(), nn.Identity())
    u = 2 + 3 * drawn(6, 4)
    own = copy.deepcopy(layer)
    jacobian.keep_statistics_of(own, u)
    torch.testing.assert_close(own.norm.running_mean, u.mean(0))
    torch.testing.assert_close(own.norm.running_var, u.var(0, correction=0))
    assert not own.training and layer.norm.num_batches_tracked == 0


def test_training_is_the_same_with_and_without():
    class Layer(nn.Module):
        """What the probe looks for, of parts of a network that trains."""

        def __init__(self, affine, norm):
            super().__init__()
            self.affine, self.norm, self.nonlinearity = affine, norm, nn.ReLU(inplace=True)

        def forward(self, u):
            return self.nonlinearity(self.norm(self.affine(u)))

    assert_training_is_unchanged_by(lambda network, _, x, y: layer_jacobians(Only(Layer(network.conv1, network.bn1)), x, seeded()))
    assert BatchNorm2d(3).training


def test_a_hook_before_a_layer_is_part_of_it_once():
    linear = nn.Linear(5, 5).double()
    linear.register_forward_pre_hook(lambda module, args: (torch.tanh(args[0]),))
    x = drawn(1, 5)
    expected = torch.linalg.svdvals(linear.weight * (1 - torch.tanh(x[0]) ** 2)).detach()
    values = layer_jacobians(nn.Sequential(linear), x, seeded())["0/singular_values"][0]
    torch.testing.assert_close(torch.from_numpy(values), expected)
    conv = nn.Conv1d(1, 1, 3, bias=False).double()
    conv.register_forward_pre_hook(lambda module, args: (nn.functional.pad(args[0], (2, 0)),))
    written_out = torch.autograd.functional.jacobian(conv, x[None]).reshape(5, 5)
    values = layer_jacobians(nn.Sequential(conv, nn.ReLU()), x[None], seeded())["0/singular_values"][0]
    torch.testing.assert_close(torch.from_numpy(values), torch.linalg.svdvals(written_out))


def test_a_hook_before_a_layer_of_affine_and_norm_is_not_in_what_ends_with_the_norm():
    network, x = deep(), drawn(20, 12)
    expected = layer_jacobians(network, torch.tanh(x), seeded(), layers=["hidden.0"])
    network.hidden[0].register_forward_pre_hook(lambda module, args: (torch.tanh(args[0]),))
    measured = layer_jacobians(network, x, seeded(), layers=["hidden.0"])
    assert measured["hidden.0/singular_values"] == pytest.approx(expected["hidden.0/singular_values"])
