"""What a batch-normalized layer computes in training (Algorithm 1) and at inference (Algorithm 2).

The layers are torch's own, kernel for kernel and key for key: `weight` is the paper's gamma, `bias` its beta,
`running_mean` and `running_var` its E[x] and Var[x]. What the paper has and torch lacks is added here.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bn_repro.norms.modes import evaluating


class _PaperNames:
    """Give torch's batch norm the paper's names, and Algorithm 2's closing line as a method."""

    @property
    def gamma(self) -> Tensor | None:
        return self.weight

    @property
    def beta(self) -> Tensor | None:
        return self.bias

    def inference_affine(self) -> tuple[Tensor, Tensor]:
        """Return (scale, shift), see the function of that name."""
        return inference_affine(self)


def inference_affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return (scale, shift), each (C,), of the map that a batch norm is at inference (Algorithm 2, line 11).

    scale = gamma / sqrt(Var[x] + eps) and shift = beta - scale * E[x].

    Raises:
        ValueError: the layer keeps no statistics (`track_running_stats=False`).
    """
    if norm.running_mean is None:
        raise ValueError("inference_affine needs population statistics; this layer has track_running_stats=False")
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -scale * norm.running_mean
    return scale, shift if norm.bias is None else shift + norm.bias


class BatchNorm1d(_PaperNames, nn.BatchNorm1d):
    """Normalize each feature of (N, C) or (N, C, L) over the batch, then scale and shift it (Algorithm 1).

    A drop-in for `torch.nn.BatchNorm1d`: same arguments, attributes, state_dict and errors.
    Beware: torch's `momentum` is the weight of the newest batch, one minus the decay of the moving average.
    """


class BatchNorm2d(_PaperNames, nn.BatchNorm2d):
    """Normalize each feature map of (N, C, H, W) over batch and locations (section 3.2); else as `BatchNorm1d`."""


class BatchNorm3d(_PaperNames, nn.BatchNorm3d):
    """Normalize each feature map of (N, C, D, H, W) over batch and locations (section 3.2); else as `BatchNorm1d`."""


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """List the batch norms of a network, torch's included, that keep population statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


@contextmanager
def normalizing_by_batch(network: nn.Module) -> Iterator[None]:
    """Let every norm with running statistics use those of its batch, all else (dropout) as at inference; restore modes after."""
    with evaluating(network):
        for module in network.modules():
            if hasattr(module, "running_mean"):
                module.train()
        yield


@torch.no_grad()
def estimate_population_statistics(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace the moving averages of every batch norm by Algorithm 2's population statistics.

    With the parameters frozen, E[x] becomes the mean over the batches of mu_B, and Var[x] the mean of
    m/(m-1) var_B. One pass serves all layers: each one's input is the training network's, in which the layers
    below normalize by the same batch, as in the paper. Dropout is off. A layer called several times in a
    forward pass averages over its calls.

    Args:
        batches: inputs of the network, each of the training batch size m.

    Returns:
        The number of batches used. The modes of all modules, and all statistics if an error occurs, are restored.

    Raises:
        ValueError: there are no batches.
    """
    layers = batch_norms(network)
    before = [(m.momentum, m.running_mean.clone(), m.running_var.clone(), m.num_batches_tracked.clone()) for m in layers]
    num_batches = 0
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # torch then averages mu_B and the unbiased m/(m-1) var_B with equal weights
        with normalizing_by_batch(network):
            for x in batches:
                network(x)
                num_batches += 1
        if num_batches == 0:
            raise ValueError("population statistics need at least one batch")
    except BaseException:
        for layer, (_, mean, var, _) in zip(layers, before):
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(var)
        raise
    finally:
        for layer, (momentum, _, _, num_tracked) in zip(layers, before):
            layer.momentum = momentum
            layer.num_batches_tracked.copy_(num_tracked)
    return num_batches
