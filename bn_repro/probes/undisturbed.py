"""How a measurement leaves no trace: buffers, modes, gradients and random numbers are after it what they were before."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bn_repro.norms import normalizing_by_batch
from bn_repro.norms.calling import arguments_of, tensors_in
from bn_repro.norms.modes import keeping_state
from bn_repro.probes.watching import measuring

LossFunction = Callable[[Tensor, Tensor], Tensor]  # of the network's output and the targets


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Run the network without gradient, norms on batch statistics and dropout off, and restore all it changes.

    Dropout is off so that no random number is drawn; running statistics are put back bit for bit, whatever the norms call
    them. A recorder does not count the passes.
    """
    with measuring(), torch.no_grad(), keeping_state(network), normalizing_by_batch(network):
        yield


@contextmanager
def rehearsing(x: object, *callables: object) -> Iterator[None]:
    """Run a network as training would, in its modes and with the random numbers of the next step, and restore all it changes.

    Args:
        callables: the network, and what else runs; of functions nothing is restored.
    """
    devices = {tensor.device for tensor in tensors_in(x) if tensor.is_cuda}
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        stack.callback(random.setstate, of_python)
        stack.callback(np.random.set_state, of_numpy)
        stack.enter_context(measuring())
        stack.enter_context(torch.random.fork_rng(devices))
        for module in callables:
            if isinstance(module, nn.Module):
                stack.enter_context(keeping_state(module))
        yield


def trainable_parameters(network: nn.Module) -> dict[str, Tensor]:
    """Return leaves with the values of the parameters that train, on the same memory, for `loss_at`.

    Raises:
        ValueError: there is none.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in network.named_parameters() if p.requires_grad}
    if not leaves:
        raise ValueError(f"{type(network).__name__} has no parameter that trains")
    return leaves


def loss_at(network: nn.Module, parameters: Mapping[str, Tensor], loss_fn: LossFunction, x: object, y: object) -> Tensor:
    """Return the loss that a training step would see with these parameters in place of the network's own.

    The network runs in the modes it is in, on copies of its buffers. Every call, and the training step after it, draws
    the same random numbers (dropout, noise), from the global generators of the CPU and of x's CUDA device. A recorder does
    not count the pass.

    Args:
        x: a tensor, or a tuple or dict of the network's arguments.

    Raises:
        ValueError: the loss is not one number, or no function of the parameters.
    """
    args, kwargs = arguments_of(network, x)
    with rehearsing(x, network, loss_fn), torch.enable_grad():
        return one_number(loss_fn(functional_call(network, dict(parameters), args, kwargs), y))


def one_number(loss: object) -> Tensor:
    """Return the loss as it is.

    Raises:
        ValueError: it is not one number, or no function of the parameters.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        what = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss_fn must return one number with a gradient in the parameters, not {what}")
    return loss
