"""What stands where batch norm stands: nothing, section 2's faulty normalization, and other norms, one signature."""

import torch
from torch import Tensor, nn

from bn_repro.config import NORMS, VIRTUAL_NORMS
from bn_repro.norms.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, TracedWhole
from bn_repro.norms.noise import ActivationNoise
from bn_repro.norms.virtual_batch_norm import VirtualBatchNorm, check_features

BATCH_NORMS = {0: BatchNorm1d, 1: BatchNorm1d, 2: BatchNorm2d, 3: BatchNorm3d}  # by the number of spatial dims


class OutsideGradientNorm(TracedWhole, nn.Module):
    """Normalize by batch statistics that the gradient takes for constants: the fault that section 2 warns of.

    Forward it is batch norm. Backward d xhat/d x = 1/sigma_B alone, so a bias before it is pushed on for ever
    while the output does not move. At inference it uses moving averages, as batch norm does.

    Args:
        has_scale: also divide by the batch's standard deviation; False only centers.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, has_scale: bool = True):
        super().__init__()
        self.eps, self.momentum, self.has_scale = eps, momentum, has_scale
        self.gamma = nn.Parameter(torch.ones(num_features))
        self.beta = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, ...) -> same
        check_features(x, len(self.beta))
        per_feature = (1, -1) + (1,) * (x.dim() - 2)
        if self.training:
            with torch.no_grad():
                kept_in = self.running_mean.dtype
                wide = torch.promote_types(torch.promote_types(x.dtype, kept_in), torch.float32)  # 16 bits do not hold their sums
                var, mean = torch.var_mean(x.to(wide), dim=[0, *range(2, x.dim())], correction=0)
                m = x.numel() // x.shape[1]
                if m < 2:
                    raise ValueError(f"expected more than 1 value per channel when training, got input of shape {tuple(x.shape)}")
                self.running_mean.lerp_(mean.to(kept_in), self.momentum)
                self.running_var.lerp_((var * m / (m - 1)).to(kept_in), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        xhat = x - mean.view(per_feature)
        if self.has_scale:
            xhat = xhat * torch.rsqrt(var + self.eps).view(per_feature)
        return (self.gamma.view(per_feature) * xhat + self.beta.view(per_feature)).to(x.dtype)


def build_norm(name: str, num_features: int, num_spatial_dims: int, eps: float, momentum: float) -> nn.Module:
    """Build the norm called `name` for (N, C) inputs (0 spatial dims), (N, C, L), (N, C, H, W) or (N, C, D, H, W) ones (1 to 3).

    `layer` is Ba et al. 2016, `group` Wu & He 2018: they normalize each example by itself, at inference as in training.
    `virtual_batch` is Salimans et al. 2017, `virtual_batch_with_example` 2016: the network needs a reference batch.

    Args:
        momentum: torch's: the weight of the newest batch in the moving averages, where there are any.

    Raises:
        ValueError: no norm has that name, or so many spatial dims.
    """
    if num_spatial_dims not in BATCH_NORMS:
        raise ValueError(f"num_spatial_dims={num_spatial_dims} is none of {', '.join(map(str, BATCH_NORMS))}")
    if name == "none":
        return nn.Identity()
    if name == "batch":
        return BATCH_NORMS[num_spatial_dims](num_features, eps, momentum)
    if name == "outside_gradient":
        return OutsideGradientNorm(num_features, eps, momentum)
    if name == "outside_gradient_center":
        return OutsideGradientNorm(num_features, eps, momentum, has_scale=False)
    if name == "layer":  # of maps, over C, H and W with a gamma and a beta per map
        return nn.GroupNorm(1, num_features, eps) if num_spatial_dims else nn.LayerNorm(num_features, eps)
    if name == "group":
        return nn.GroupNorm(num_groups(num_features, num_spatial_dims), num_features, eps)
    if name == "noisy_batch":
        return nn.Sequential(build_norm("batch", num_features, num_spatial_dims, eps, momentum), ActivationNoise())
    if name == "noisy_none":
        return ActivationNoise()
    if name in VIRTUAL_NORMS:
        return VirtualBatchNorm(num_features, eps, has_example=name == "virtual_batch_with_example")
    raise ValueError(f"norm '{name}' does not exist; choices: {', '.join(NORMS)}")


def num_groups(num_features: int, num_spatial_dims: int) -> int:
    """Return the largest divisor of the features up to 32, Wu & He's number, that leaves a group 2 maps, or 4 features of no map.

    Two normalized numbers are only a sign, so that 4 is the least where a feature is a single number.
    """
    least = 2 if num_spatial_dims else 4
    return max((n for n in range(1, 33) if num_features % n == 0 and num_features // n >= least), default=1)


def normalizes_each_map(name: str) -> bool:
    """Say whether each feature or map is normalized by itself, so that layers side by side may share one norm.

    Noisy norms draw once a layer, so that layers may not.
    """
    return name in ("none", "batch", "outside_gradient", "outside_gradient_center", *VIRTUAL_NORMS)


def subsumes_bias(name: str) -> bool:
    """Say whether the norm's beta makes a bias before it redundant, in the forward and the backward pass (section 3.2).

    The mean that `layer` and `group` subtract is over features: a bias of each feature survives it, less what they share.
    """
    return name in ("batch", "noisy_batch", *VIRTUAL_NORMS)
