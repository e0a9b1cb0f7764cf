"""The layer all networks here are made of: z = g(BN(W u)) (section 3.2)."""

from collections import OrderedDict

from torch import nn

from bn_repro.config import NONLINEARITIES


class NormedLayer(nn.Sequential):
    """Apply an affine map, then a norm, then a nonlinearity; each may be `nn.Identity`.

    Without a norm it is z = g(W u + b). The three parts have fixed names, so that probes find them in any network.
    """

    def __init__(self, affine: nn.Module, norm: nn.Module, nonlinearity: nn.Module):
        super().__init__(OrderedDict(affine=affine, norm=norm, nonlinearity=nonlinearity))


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
    raise ValueError(f"nonlinearity '{name}' does not exist; choices: {', '.join(NONLINEARITIES)}")
