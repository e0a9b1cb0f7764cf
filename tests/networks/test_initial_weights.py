"""Are the weights of every kind of convolution drawn as promised, and are computed ones refused?"""

import math

import pytest
import torch
from torch import nn

from bn_repro.networks.initialization import init_gaussian, init_he, init_xavier


@pytest.mark.parametrize(
    "layer, fan_in, fan_out",
    [
        (nn.Linear(64, 128), 64, 128),
        (nn.Conv1d(64, 128, 3), 192, 384),
        (nn.Conv2d(16, 128, 3, groups=2), 72, 1152),
        (nn.Conv3d(16, 32, 3), 432, 864),
        (nn.ConvTranspose2d(64, 32, 3), 576, 288),
        (nn.ConvTranspose2d(64, 32, 3, groups=2), 288, 144),
    ],
)
def test_deviations(layer, fan_in, fan_out):
    generator = torch.Generator().manual_seed(0)
    promised = ((init_he, (2 / fan_in) ** 0.5), (init_xavier, (2 / (fan_in + fan_out)) ** 0.5))
    for init, std in promised:
        init(layer, generator)
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert layer.weight.mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(layer.weight.numel()))
        assert not layer.bias.any()


def test_a_computed_weight_is_refused():
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)))
    with pytest.raises(ValueError, match="the weight of '0' is computed"):
        init_gaussian(network, None, 0.1)
