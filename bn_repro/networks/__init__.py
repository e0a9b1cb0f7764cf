"""The paper's networks; the norm and the nonlinearity are arguments, so that with and without BN is one switch."""

import math

import torch
from torch import nn

from bn_repro.config import NetworkConfig
from bn_repro.networks.normed_layer import NormedLayer, build_nonlinearity
from bn_repro.networks.sigmoid_mlp import SigmoidMLP, init_gaussian

__all__ = ["NormedLayer", "SigmoidMLP", "build_network", "build_nonlinearity", "init_gaussian"]


def build_network(config: NetworkConfig, image_shape: tuple[int, ...], num_classes: int, seed: int) -> nn.Module:
    """Build and initialize the configured network; the same seed gives arms of equal shapes equal weights.

    Args:
        image_shape: (H, W), or (H, W, C).
    """
    arguments = {
        name: getattr(config, name)
        for name in ("norm", "nonlinearity", "norm_eps", "norm_momentum", "keep_bias", "depth", "width")
    }
    network = SigmoidMLP(math.prod(image_shape), num_classes, **arguments)
    init_gaussian(network, config.init_std, torch.Generator().manual_seed(seed))
    return network
