"""How a measurement leaves no trace: buffers, modes, gradients and random numbers are after it what they were before."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bn_repro.norms import normalizing_by_batch

LossFunction = Callable[[Tensor, Tensor], Tensor]  # of the network's output and the targets


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Run the network without gradient, norms on batch statistics and dropout off, and restore all it changes.

    Dropout is off so that no random number is drawn; running statistics are put back bit for bit.
    """
    buffers = list(network.buffers())
    saved = [buffer.clone() for buffer in buffers]
    try:
        with torch.no_grad(), normalizing_by_batch(network):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in zip(buffers, saved):
                buffer.copy_(before)


def trainable_parameters(network: nn.Module) -> dict[str, Tensor]:
    """Return leaves with the values of the parameters that train, on the same memory, for `loss_at`."""
    return {name: p.detach().requires_grad_() for name, p in network.named_parameters() if p.requires_grad}


def loss_at(network: nn.Module, parameters: Mapping[str, Tensor], loss_fn: LossFunction, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss that a training step would see with these parameters in place of the network's own.

    The network runs in the modes it is in, on copies of its buffers. Every call, and the training step after it, draws
    the same random numbers (dropout, noise), from the global generators of the CPU and of x's CUDA device.
    """
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        return loss_fn(functional_call(network, {**parameters, **buffers}, (x,)), y)
