"""Do the measures of the paper's exact statements tell a network for which they hold from one for which they do not?"""

import copy

import pytest
import torch
from torch import nn

from bn_repro.networks import SigmoidMLP
from bn_repro.probes import folding_error, scale_invariance_errors

NAMES = ["output", "input_gradient", "weight_gradient"]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network_of(norm, **kwargs):
    network = SigmoidMLP(16, 10, width=12, norm=norm, **kwargs).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("affine.weight"):
                parameter.copy_(drawn(*parameter.shape, seed=parameter.numel()))
            elif name.endswith("affine.bias"):
                parameter.zero_()
    return network


def errors_of(network, scale):
    return scale_invariance_errors(network, drawn(40, 4, 4), scale, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [10.0, 0.25])
def test_batch_norm_is_scale_invariant(scale):
    errors = errors_of(network_of("batch", norm_eps=1e-20), scale)
    assert list(errors) == NAMES and max(errors.values()) < 1e-12


def test_the_layers_own_eps_counts():
    """With eps as large as the variance, W and 10 W differ by about the factor sqrt(2) that eps makes of W."""
    errors = errors_of(network_of("batch", norm_eps=1.0), 10.0)
    assert 0.01 < errors["output"] < 2


def test_without_norm_each_identity_is_off_by_the_factor():
    """|aWu - Wu| / |Wu| = a - 1; the same of the gradient in u; that in aW is a times the (1/a) expected: a - 1 too."""
    assert errors_of(network_of("none"), 10.0) == pytest.approx(dict.fromkeys(NAMES, 9.0))


def test_centering_alone_is_not_scale_invariant():
    assert errors_of(network_of("outside_gradient_center"), 10.0) == pytest.approx(dict.fromkeys(NAMES, 9.0))


def test_the_worst_layer_counts():
    network = network_of("batch", norm_eps=1e-20)
    network.hidden[1].norm = nn.Identity()
    assert errors_of(network, 10.0) == pytest.approx(dict.fromkeys(NAMES, 9.0))


def test_scale_invariance_leaves_no_trace():
    network = network_of("batch")
    network.hidden[0].eval()
    before, modes, rng = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()], torch.get_rng_state()
    errors_of(network, 10.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [m.training for m in network.modules()] == modes and torch.equal(torch.get_rng_state(), rng)
    assert not any(m._forward_pre_hooks for m in network.modules()) and all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("norm, num_folded", [("batch", 3), ("none", 0)])
def test_folding_error_is_rounding(norm, num_folded):
    network = network_of(norm).train()
    x = drawn(40, 4, 4)
    for _ in range(3):
        network(x)
    network.hidden[0].eval()
    before, modes = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()]
    num, error = folding_error(network, x)
    assert num == num_folded and error < 1e-13
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_folding_error_is_relative_to_the_largest_output(monkeypatch):
    """Outputs 2, -4 folded to 2, -3: off by 1 of 4."""
    network = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        network.weight.fill_(2)
    off = nn.Sequential(copy.deepcopy(network), nn.Hardtanh(-3, 100))
    monkeypatch.setattr("bn_repro.probes.identities.fold_batch_norms", lambda _: off)
    assert folding_error(network, torch.tensor([[1.0], [-2.0]]).double()) == (0, 0.25)
