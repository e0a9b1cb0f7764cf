"""Which update rule trains a network."""

import torch
from torch import nn

from bn_repro.config import TrainConfig


def build_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimizer of all that trains, with a group a layer, bottom first, where the network says what its layers are."""
    layers = network.layer_groups() if hasattr(network, "layer_groups") else [list(network.parameters())]
    groups = [{"params": [p for p in layer if p.requires_grad]} for layer in layers]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, config.lr, betas=(config.momentum, config.beta_2), weight_decay=config.weight_decay)
    return torch.optim.SGD(groups, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
