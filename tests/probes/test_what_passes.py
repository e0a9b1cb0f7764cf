"""Is what a batch makes of a network measured: not the reference ahead of it, and before a module changes it in place?"""

import numpy as np
import pytest
import torch
from foreign import OPEN, WIDE, X, Y, drawn, generator
from torch import nn
from torch.nn import functional as F

from bn_repro.networks import SigmoidMLP
from bn_repro.norms.virtual_batch_norm import VirtualBatchNorm, keep_reference
from bn_repro.probes import (
    ActivationProbe,
    ActivationRecorder,
    Site,
    layer_jacobians,
    magnitudes,
)


def means(network, place, x):
    site = Site("here", place, True, WIDE, OPEN)
    return ActivationProbe(network, [site])(x)[1]["here/mean"]


def with_reference():
    network = SigmoidMLP(4, 3, depth=2, width=5, norm="virtual_batch")
    keep_reference(network, 0.01 * drawn(7, 4, seed=1))
    return network


def test_the_batch_is_measured_and_not_the_reference():
    network = nn.Sequential(nn.Linear(4, 4), VirtualBatchNorm(4))
    keep_reference(network, 0.01 * drawn(5, 4))
    assert means(network, network[0], drawn(50, 4) + 10) == pytest.approx((drawn(50, 4) + 10).mean().item(), rel=1e-5)


def test_magnitudes_are_of_the_batch():
    network = with_reference()
    seen = []
    network.hidden[0].affine.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    network(X)
    assert len(seen) == 2  # the reference's and the batch's
    measured = magnitudes(network, F.cross_entropy, X, Y)["hidden.0/affine"]
    assert measured == pytest.approx(seen[1].square().mean().sqrt().item(), rel=1e-5)


def test_jacobians_are_at_the_batch():
    network = with_reference()
    found = layer_jacobians(network, X, generator(), has_nonlinearity=True)["hidden.0/singular_values"][0]
    layer = network.hidden[0]
    with torch.no_grad():  # the statistics are those of the layer's own batch, as of every norm in this measure
        weight = layer.affine.weight.double()
        h = X.double() @ weight.T
        scale = (h.var(0, correction=0) + layer.norm.eps).rsqrt()
        g = torch.sigmoid((h[0] - h.mean(0)) * scale)
        expected = torch.linalg.svdvals((g * (1 - g) * scale)[:, None] * weight)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_wrapper_leaves_the_reference_where_it_is():
    network = with_reference()
    logits, _ = ActivationProbe(nn.Sequential(network), [])(X)
    torch.testing.assert_close(logits, network(X))


def test_the_recorder_of_a_wrapper_sees_the_batch():
    network = nn.Sequential(with_reference())
    with ActivationRecorder(network, every=1) as recorder:
        network(X + 3)
    with torch.no_grad():
        expected = network[0].hidden[0].affine(X + 3).mean().item()
    assert recorder.arrays()["0.hidden.0.affine/out/mean"][0] == pytest.approx(expected, rel=1e-4)


def test_inputs_changed_in_place_are_seen_as_they_came():
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True))
    site = Site("in", network[1], True, WIDE, OPEN)
    _, arrays = ActivationProbe(network, [site])(drawn(50, 4))
    with torch.no_grad():
        expected = np.percentile(network[0](drawn(50, 4)).numpy(), [15, 50, 85])
    np.testing.assert_allclose(arrays["in/percentiles"], expected, rtol=1e-5)


class CentredNorm(nn.Module):
    def forward(self, x):
        return x.sub_(x.mean(0))


def test_the_recorder_sees_inputs_as_they_came():
    network = nn.Sequential(nn.Linear(4, 8), CentredNorm())
    nn.init.constant_(network[0].bias, 5.0)
    with ActivationRecorder(network, every=1) as recorder:
        network(drawn(50, 4))
    arrays = recorder.arrays()
    assert arrays["1/in/mean"][0] == pytest.approx(arrays["0/out/mean"][0]) and arrays["1/in/mean"][0] > 4
