"""Whether batch norm still helps when its outputs' distributions change at every step: noise after it (Santurkar et al. 2018)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bn_repro.norms.batch_norm import TracedWhole


class ActivationNoise(TracedWhole, nn.Module):
    """Scale and shift every element at random, by distributions that are themselves drawn anew at every step: s * x + m.

    At each call in training mode mu ~ U(-1/2, 1/2) and sigma ~ U(1, 5/4) are drawn for the layer, then for each element
    m ~ U(mu - 0.1, mu + 0.1) and s ~ N(sigma, 0.1^2), from the global generator of x's device: a resumed run, whose
    checkpoint holds its state, draws the same. Otherwise, as in the probes, it is the identity, unless `noise_from` gives
    it a generator.

    The moving averages of a norm above it are of noisy inputs, so at inference they are off; Algorithm 2's are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.generator is None:
            return x
        source = {"generator": self.generator, "device": x.device if self.generator is None else self.generator.device}
        mu = torch.rand((), **source) - 0.5
        sigma = 1 + 0.25 * torch.rand((), **source)
        m = mu + 0.2 * torch.rand(x.shape, **source) - 0.1
        s = sigma + 0.1 * torch.randn(x.shape, **source)
        return s.to(x) * x + m.to(x)


@contextmanager
def noise_from(network: nn.Module, generator: torch.Generator | None) -> Iterator[None]:
    """Switch the noise on in any mode, drawn from a generator of its own; None leaves all as it is."""
    noises = [module for module in network.modules() if isinstance(module, ActivationNoise)]
    before = [noise.generator for noise in noises]
    try:
        for noise in noises:
            noise.generator = generator or noise.generator
        yield
    finally:
        for noise, own in zip(noises, before):
            noise.generator = own
