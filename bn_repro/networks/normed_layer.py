"""The layer all networks here are made of: z = g(BN(W u)) (section 3.2)."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from bn_repro.config import NONLINEARITIES

LEAST_LENGTH = 1e-6


class NormedLayer(nn.Sequential):
    """Apply an affine map, then a norm, then a nonlinearity; each may be `nn.Identity`.

    Without a norm it is z = g(W u + b). The three parts have fixed names, so that probes find them in any network.
    """

    def __init__(self, affine: nn.Module, norm: nn.Module, nonlinearity: nn.Module):
        super().__init__(OrderedDict(affine=affine, norm=norm, nonlinearity=nonlinearity))


class NormalizedTanh(nn.Module):
    """g(h) = tanh(h) / ||tanh(h)||, the length being over all features of an example: layer normalization as in Goldberg 2017, chapter 14.

    An example whose tanh(h) is shorter than 1e-6 is divided by that instead.
    """

    def forward(self, h: Tensor) -> Tensor:  # (N, C, ...) -> same
        return F.normalize(h.tanh().flatten(1), dim=1, eps=LEAST_LENGTH).view_as(h)


def build_nonlinearity(name: str) -> nn.Module:
    """Build the nonlinearity g called `name`.

    Raises:
        ValueError: no nonlinearity has that name.
    """
    if name == "sigmoid":
        return nn.Sigmoid()
    if name == "tanh":
        return nn.Tanh()
    if name == "relu":
        return nn.ReLU(inplace=True)
    if name == "identity":
        return nn.Identity()
    if name == "normalized_tanh":
        return NormalizedTanh()
    raise ValueError(f"nonlinearity '{name}' does not exist; choices: {', '.join(NONLINEARITIES)}")
