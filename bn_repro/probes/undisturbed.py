"""How a measurement leaves no trace: buffers, modes and gradients are after it what they were before."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bn_repro.norms import normalizing_by_batch


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
