"""What the weights are before the first step: drawn from a passed generator, biases 0."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def init_gaussian(network: nn.Module, generator: torch.Generator | None, std: float) -> None:
    """Fill the weights of convolutions and linear layers with N(0, std^2), their biases with 0 (section 4.1).

    Args:
        generator: None draws from torch's global one.
    """
    init_weights(network, partial(nn.init.normal_, std=std, generator=generator))


def init_he(network: nn.Module, generator: torch.Generator | None, gain: float = 1.0) -> None:
    """Fill the weights with N(0, 2 / fan_in) (He et al. 2015), their deviation times `gain`; else as `init_gaussian`."""
    init_weights(network, scaled(partial(nn.init.kaiming_normal_, nonlinearity="relu", generator=generator), gain))


def init_xavier(network: nn.Module, generator: torch.Generator | None, gain: float = 1.0) -> None:
    """Fill the weights with N(0, 2 / (fan_in + fan_out)), for sigmoid and tanh (Glorot & Bengio 2010); else as `init_he`."""
    init_weights(network, scaled(partial(nn.init.xavier_normal_, generator=generator), gain))


def scaled(fill: Callable[[Tensor], Tensor], gain: float) -> Callable[[Tensor], Tensor]:
    @torch.no_grad()
    def fill_and_scale(weight: Tensor) -> Tensor:
        return fill(weight).mul_(gain)

    return fill if gain == 1 else fill_and_scale


def init_weights(network: nn.Module, fill: Callable[[Tensor], Tensor]) -> None:
    """Fill weights of shape (outputs, inputs, ...); of transposed convolutions, group by group, as such.

    Raises:
        ValueError: a weight is computed from other parameters, as by weight_norm.
    """
    for name, module in network.named_modules():
        if isinstance(module, (_ConvNd, nn.Linear)):
            if module._parameters.get("weight") is None:
                raise ValueError(f"the weight of '{name}' is computed from other parameters; fill it before it is reparametrized")
            if isinstance(module, _ConvTransposeNd):
                for weight in module.weight.detach().chunk(module.groups):
                    fill(weight.transpose(0, 1))
            else:
                fill(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
