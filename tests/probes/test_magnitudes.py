"""Are the root mean squares those of the network written out, before what changes them in place, and is no trace left?"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unchanged_training import assert_training_is_unchanged_by

from bn_repro.networks import NormedLayer, SigmoidMLP
from bn_repro.norms import BatchNorm1d
from bn_repro.probes import magnitudes


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rms(tensor):
    return (tensor.detach() ** 2).mean().sqrt().item()


@pytest.mark.parametrize("norm, nonlinearity", [("batch", "sigmoid"), ("none", "relu"), ("batch", "relu")])
def test_a_network_written_out(norm, nonlinearity):
    torch.manual_seed(0)
    network = SigmoidMLP(6, 3, depth=2, width=5, norm=norm, nonlinearity=nonlinearity).double()
    x, y = drawn(20, 6), torch.arange(20) % 3
    u, kept = x, {}
    for number, layer in enumerate(network.hidden):
        a = F.linear(u, layer.affine.weight, layer.affine.bias)
        h = a if norm == "none" else (a - a.mean(0)) / (a.var(0, correction=0) + 1e-5).sqrt()
        u = h.sigmoid() if nonlinearity == "sigmoid" else h.relu()
        kept |= {f"hidden.{number}/affine": a, f"hidden.{number}/output": u, f"hidden.{number}/weight": layer.affine.weight}
    loss = F.cross_entropy(F.linear(u, network.output.weight, network.output.bias), y)
    gradients = dict(zip(kept, torch.autograd.grad(loss, list(kept.values()))))
    expected = {name: rms(value) for name, value in kept.items() if not name.endswith("weight")}
    expected |= {f"{name}_gradient": rms(gradient) for name, gradient in gradients.items()}
    assert magnitudes(network, F.cross_entropy, x, y) == pytest.approx(expected, rel=1e-9)


def test_without_norm_gradients_fall_with_each_layer_of_small_weights():
    network = SigmoidMLP(6, 3, depth=4, width=50, norm="none", nonlinearity="identity").double()
    with torch.no_grad():
        for layer in network.hidden:
            layer.affine.weight.copy_(0.1 / layer.affine.weight.shape[1] ** 0.5 * drawn(*layer.affine.weight.shape))
            layer.affine.bias.zero_()
    measured = magnitudes(network, F.cross_entropy, drawn(20, 6), torch.arange(20) % 3)
    sizes = [measured[f"hidden.{layer}/output"] for layer in range(4)]
    assert all(after < before / 3 for before, after in zip(sizes, sizes[1:]))


def test_a_layer_without_weights_or_that_is_frozen_has_no_weight_gradient():
    first = NormedLayer(nn.Linear(6, 4), BatchNorm1d(4), nn.ReLU(inplace=True))
    network = nn.Sequential(first, NormedLayer(nn.Identity(), nn.Identity(), nn.Tanh()))
    network[0].affine.requires_grad_(False)
    measured = magnitudes(network, F.cross_entropy, drawn(20, 6).float(), torch.arange(20) % 3)
    assert measured["0/weight_gradient"] == measured["1/weight_gradient"] == 0 < measured["1/output_gradient"]


def test_training_is_the_same_with_and_without():
    assert_training_is_unchanged_by(lambda network, _, x, y: magnitudes(network, F.cross_entropy, x, y))
