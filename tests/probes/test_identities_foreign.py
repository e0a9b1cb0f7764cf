"""Do the exact statements say what holds of any network, and nan or a refusal where they cannot?"""

import copy

import numpy as np
import pytest
import torch
from foreign import X, drawn, generator
from torch import nn
from torch.nn import functional as F

from bn_repro.networks import NormedLayer, SigmoidMLP
from bn_repro.probes import (
    folding_error,
    scale_invariance_errors,
)


def test_what_is_not_finite_is_not_exact():
    network = nn.Sequential(NormedLayer(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sigmoid()))
    network[0].affine.weight.data[0, 0] = torch.nan
    assert all(np.isnan(error) for error in scale_invariance_errors(network, X, 2.0, generator()).values())


class PreNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.affine = nn.BatchNorm1d(4), nn.Linear(4, 4)

    def forward(self, u):
        return self.affine(self.norm(u))


def test_a_norm_that_stands_before_its_layer_is_no_layer():
    with pytest.raises(ValueError, match=r"calls no layer that is norm\(affine\(u\)\)"):
        scale_invariance_errors(nn.Sequential(PreNorm()), X, 2.0, generator())


def test_identities_hold_under_autocast_as_without():
    network = SigmoidMLP(4, 3, depth=2, width=5, norm="batch")
    expected = scale_invariance_errors(network, drawn(30, 4), 10.0, generator())
    with torch.autocast("cpu", torch.bfloat16):
        errors = scale_invariance_errors(network, drawn(30, 4), 10.0, generator())
    assert errors == pytest.approx(expected, rel=0.2)  # inputs of the layers come from passes of 16 bits


def test_folding_compares_what_has_numbers():
    class WithMask(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x):
            y = self.norm(self.layer(x))
            return y, y > 0

    assert folding_error(WithMask(), X)[1] < 1e-5
    with pytest.raises(ValueError, match="nothing can be compared"):
        folding_error(WithMask(), X[:0])


class Residual(NormedLayer):
    def forward(self, u):
        return u + F.relu(self.norm(self.affine(u)))


def test_what_a_layer_does_with_its_norm_is_its_own():
    network = nn.Sequential(Residual(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Identity()))
    assert max(scale_invariance_errors(network, drawn(30, 4), 2.0, generator()).values()) < 1e-3


def test_folding_error_of_dropout_that_never_rests():
    class MonteCarlo(nn.Dropout):
        def train(self, mode=True):
            return super().train(True)

    network = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), MonteCarlo(0.5), nn.Linear(6, 2)).eval()
    num_folded, error = folding_error(network, torch.randn(4, 5, generator=torch.Generator().manual_seed(0)))
    assert num_folded == 1 and error < 1e-5


def test_folding_error_of_outputs_that_are_zero_or_infinite():
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    nn.init.zeros_(network[2].weight), nn.init.zeros_(network[2].bias)
    assert folding_error(network, X) == (1, 0.0)

    class Masked(nn.Sequential):
        def forward(self, x):
            return super().forward(x).masked_fill(torch.tensor([True, False]), -torch.inf)

    nn.init.normal_(network[2].weight)
    assert folding_error(Masked(*network), X)[1] < 1e-6


def test_an_output_that_folding_makes_nan_is_no_small_error(monkeypatch):
    """Whichever of several outputs it is."""

    class Two(nn.Sequential):
        def forward(self, x):
            return (super().forward(x), x) if self.is_first else (x, super().forward(x))

    for is_first in (True, False):
        network = Two(nn.Linear(4, 4), nn.BatchNorm1d(4))
        network.is_first = is_first
        broken = copy.deepcopy(network)
        nn.init.constant_(broken[0].bias, torch.nan)
        monkeypatch.setattr("bn_repro.probes.identities.fold_batch_norms", lambda _, broken=broken: broken)
        assert np.isnan(folding_error(network, X)[1])
