"""The networks; the norm and the nonlinearity are arguments, so that with and without BN is one switch."""

import dataclasses
import math

import torch
from torch import nn

from bn_repro.config.images import ImageNetworkConfig
from bn_repro.networks.awd_lstm import AwdLstm, LanguageModel
from bn_repro.networks.inception import Inception
from bn_repro.networks.initialization import init_gaussian, init_he, init_xavier
from bn_repro.networks.normed_layer import NormalizedTanh, NormedLayer, build_nonlinearity
from bn_repro.networks.registering import register_with_timm
from bn_repro.networks.sigmoid_mlp import SigmoidMLP
from bn_repro.networks.text_classifier import PoolingClassifier, TextClassifier

__all__ = [
    "AwdLstm",
    "Inception",
    "LanguageModel",
    "NormalizedTanh",
    "NormedLayer",
    "PoolingClassifier",
    "SigmoidMLP",
    "TextClassifier",
    "build_network",
    "build_nonlinearity",
    "init_gaussian",
    "init_he",
    "init_xavier",
]

register_with_timm()


def build_network(config: ImageNetworkConfig, image_shape: tuple[int, ...], num_classes: int, seed: int) -> nn.Module:
    """Build and initialize the configured network; the same seed gives arms of equal shapes equal weights.

    Args:
        image_shape: (H, W), or (C, H, W).
    """
    arguments = {one.name: getattr(config, one.name) for one in dataclasses.fields(config) if not one.name.startswith(("name", "init"))}
    if config.name == "sigmoid_mlp":
        network: nn.Module = SigmoidMLP(math.prod(image_shape), num_classes, **arguments)
    else:
        network = Inception(num_classes, image_shape[0], **arguments).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    if config.init == "gaussian":
        assert config.init_std is not None, "checked with the config"
        init_gaussian(network, generator, config.init_std)
    else:
        {"he": init_he, "xavier": init_xavier}[config.init](network, generator, config.init_gain)
    return network
