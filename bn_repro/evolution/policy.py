"""The policies: 84 x 84 x 4 grey pixels to the scores of actions; the norm is an argument.

The two networks, their padding and initial weights are those of the newer public code of Such et al. 2017: weights
N(0, 1 / fan_in), biases 0. The ES policy is also that of Salimans et al. 2017.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bn_repro.config.evolution import PolicyConfig
from bn_repro.evolution.noise import noise
from bn_repro.networks import NormedLayer
from bn_repro.norms import VirtualBatchNorm, build_norm, subsumes_bias

INPUT = (4, 84, 84)
POLICIES = {
    #             filters, kernel, stride of the convolutions   hidden units
    "es_policy": (((16, 8, 4), (32, 4, 2)), 256),  # 1.0 M parameters
    "ga_policy": (((32, 8, 4), (64, 4, 2), (64, 3, 1)), 512),  # 4.0 M parameters
}


class SameConv2d(nn.Conv2d):
    """Convolve with as many outputs as ceil(side / stride): TensorFlow's padding SAME, of which an odd rest goes to the end."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, padding_of(x.shape[-1], self.kernel_size[0], self.stride[0])))


def padding_of(side: int, kernel_size: int, stride: int) -> tuple[int, int, int, int]:
    """Return zeros (left, right, top, bottom) around a square map."""
    total = max((math.ceil(side / stride) - 1) * stride + kernel_size - side, 0)
    return (total // 2, total - total // 2) * 2


class Policy(nn.Module):
    """Score the actions for observations (N, 4, 84, 84) in [0, 1].

    Its genome is the vector of its parameters. A norm's `batch` here uses the moments of the reference batch in the
    unperturbed policy, as at inference (Algorithm 2); `virtual_batch` takes them anew of every policy.
    """

    def __init__(self, config: PolicyConfig, num_actions: int):
        super().__init__()
        convolutions, width = POLICIES[config.name]
        has_bias = not subsumes_bias(config.norm)
        channels, side, _ = INPUT
        layers = []
        for filters, kernel_size, stride in convolutions:
            affine = SameConv2d(channels, filters, kernel_size, stride, bias=has_bias)
            layers.append(NormedLayer(affine, norm_of(config, filters, 2), nn.ReLU()))
            channels, side = filters, math.ceil(side / stride)
        hidden = nn.Linear(channels * side**2, width, bias=has_bias)
        layers += [nn.Flatten(), NormedLayer(hidden, norm_of(config, width, 0), nn.ReLU())]
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(width, num_actions)
        self.num_actions, self.output_std = num_actions, config.output_std
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:  # (N, 4, 84, 84) -> (N, num_actions)
        return self.output(self.layers(x))

    @property
    def genome_size(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def initial_genome(self, seed: int) -> Tensor:
        """Return the genome that a seed stands for: weights N(0, std^2 / fan_in), biases and shifts 0, scales 1."""
        genome = noise(seed, self.genome_size)
        for (name, parameter), part in zip(self.named_parameters(), genome.split([p.numel() for p in self.parameters()])):
            if parameter.dim() > 1:
                std = self.output_std if name == "output.weight" else 1.0
                part.mul_(std / math.sqrt(parameter[0].numel()))
            else:
                part.fill_(1.0 if name.endswith(("gamma", "norm.weight")) else 0.0)
        return genome

    def express(self, genome: Tensor) -> "Policy":
        """Make a genome this policy's parameters, on the genome's memory.

        Raises:
            ValueError: it has another length.
        """
        length = sum(p.numel() for p in self.parameters())
        if genome.numel() != length:
            raise ValueError(f"a genome of {genome.numel()} numbers is not one of the {length} parameters of this policy")
        nn.utils.vector_to_parameters(genome, self.parameters())
        return self


def norm_of(config: PolicyConfig, num_features: int, num_spatial_dims: int) -> nn.Module:
    """Build a policy's norm, without scale if it shall have none."""
    norm = build_norm(config.norm, num_features, num_spatial_dims, config.norm_eps, momentum=1.0)
    if not config.has_gamma and config.norm != "none":
        setattr(norm, "gamma" if isinstance(norm, VirtualBatchNorm) else "weight", None)
    return norm


@torch.no_grad()
def keep_moments(policy: Policy, x_ref: Tensor) -> None:
    """Make the biased moments of a reference batch those by which the policy's batch norms normalize."""
    for layer in policy.layers:
        if isinstance(layer, NormedLayer):
            var, mean = torch.var_mean(layer.affine(x_ref), dim=[0, *range(2, x_ref.dim())], correction=0)
            layer.norm.running_mean.copy_(mean)
            layer.norm.running_var.copy_(var)
        x_ref = layer.eval()(x_ref)
