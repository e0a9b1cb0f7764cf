"""How Inception pools, as Caffe does, so that odd sides and the public weights fit."""

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F


def build_pool(kind: str, stride: int) -> nn.Module:
    if kind == "avg":
        return nn.AvgPool2d(3, 1, padding=1, count_include_pad=True)  # as Caffe, so that the public weights fit
    if stride == 1:
        return nn.MaxPool2d(3, 1, padding=1)
    return HalvingMaxPool()


class HalvingMaxPool(nn.Module):
    """Take the largest value of 3x3 windows at stride 2 that begin at the border, as Caffe's do; an odd side rounds up."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))
        return F.max_pool2d(padded_to_even(x), 3, 2, ceil_mode=True)


@fx.wrap  # torch.fx shall not look at the sides that happen to be traced
def padded_to_even(x: Tensor) -> Tensor:
    """Make room for one more window, without which the output would be smaller than that of the padded 3x3 convolutions."""
    odd = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
    return F.pad(x, odd, value=-torch.inf) if any(odd) else x
