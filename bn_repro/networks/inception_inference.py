"""What an Inception module saves at inference once its norms are folded (section 3.1): it projects before it pools."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from bn_repro.networks.normed_layer import NormedLayer


class BiasedSumPool(nn.Module):
    """Sum windows of 3x3 at stride 1, padded with zeros, then add a bias (C,) to the maps."""

    def __init__(self, bias: nn.Parameter):
        super().__init__()
        self.bias = bias
        self.register_buffer("weight", torch.ones_like(bias).view(-1, 1, 1, 1).repeat(1, 1, 3, 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W), the shape kept
        return biased_sums(x, self.weight, self.bias)


@fx.wrap  # torch.fx shall not settle for the number of images that happens to be traced
def biased_sums(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if len(x) == 1:
        # On a CPU the convolution is up to five times as fast as torch's pool, but slow to start for a single image.
        return F.avg_pool2d(x, 3, 1, padding=1, divisor_override=1) + bias.view(-1, 1, 1)
    return F.conv2d(x, weight, bias, padding=1, groups=len(bias))


class ProjectFirst(nn.Module):
    """Join the branches of an Inception module of folded norms and an average pool, the projection before the pool.

    An average commutes with a 1x1 convolution that has no bias, and the projection has fewer maps. As it then reads the
    module's input, all 1x1 convolutions are one. Its bias follows the pool, whose padding must not get it.

    Args:
        widths: maps of the reductions for the 1x1, the 3x3 and the double 3x3 branch.
        reductions: the layers that make these maps, in this order.
    """

    def __init__(
        self, widths: Sequence[int], reductions: Sequence[NormedLayer], projection: NormedLayer, conv_3x3: nn.Module, double_3x3: nn.Module
    ):
        super().__init__()
        self.widths, self.num_reduced = list(widths), sum(widths)
        self.conv_1x1 = joined([layer.affine for layer in reductions], projection.affine.weight / 9)  # the windows' size
        self.conv_3x3, self.double_3x3 = conv_3x3, double_3x3
        self.pool = BiasedSumPool(projection.affine.bias)
        self.nonlinearity = projection.nonlinearity

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W) -> (N, out_channels, H, W)
        maps = self.conv_1x1(x)
        reduced = self.nonlinearity(maps[:, : self.num_reduced]).split(self.widths, dim=1)
        pooled = self.nonlinearity(self.pool(maps[:, self.num_reduced :]))
        return torch.cat([reduced[0], self.conv_3x3(reduced[1]), self.double_3x3(reduced[2]), pooled], dim=1)


@torch.no_grad()
def joined(convs: Sequence[nn.Conv2d], weight: Tensor) -> nn.Conv2d:
    """Return the 1x1 convolution of the filters of `convs`, then those of `weight` (C, in_channels, 1, 1) without bias."""
    weights = [*(conv.weight for conv in convs), weight]
    biases = [*(conv.bias for conv in convs), weight.new_zeros(len(weight))]
    whole = nn.Conv2d(weight.shape[1], sum(len(part) for part in weights), 1, device="meta")  # draws no initial weights
    whole.weight = nn.Parameter(torch.cat(weights), convs[0].weight.requires_grad)
    whole.bias = nn.Parameter(torch.cat(biases), convs[0].weight.requires_grad)
    return whole
