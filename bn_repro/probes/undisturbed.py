"""How a measurement leaves no trace: buffers, modes, gradients and random numbers are after it what they were before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.func import functional_call

from bn_repro.norms import normalizing_by_batch
from bn_repro.norms.calling import fresh, fresh_arguments, tensors_in
from bn_repro.norms.modes import keeping_random_numbers, keeping_state
from bn_repro.probes.watching import measuring

LossFunction = Callable[[Tensor, Tensor], Tensor]  # of the network's output and the targets


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Run the network without gradient, norms on batch statistics and dropout off, and restore all it changes.

    Running statistics are put back bit for bit, whatever the norms call them. A recorder does not count the passes.
    """
    with measuring(), torch.no_grad(), keeping_random_numbers(*network.parameters(), *network.buffers()):
        with keeping_state(network), normalizing_by_batch(network):
            yield


@contextmanager
def rehearsing(x: object, *callables: object) -> Iterator[None]:
    """Run a network as training would, in its modes and with the random numbers of the next step, and restore all it changes.

    Args:
        callables: the network, and what else runs; of functions that are neither modules' methods nor partial calls of one, nothing is
            restored.
    """
    with ExitStack() as stack:
        stack.enter_context(measuring())
        stack.enter_context(keeping_random_numbers(*tensors_in(x)))
        for called in callables:
            while isinstance(called, partial):
                called = called.func
            module = getattr(called, "__self__", called)
            if isinstance(module, nn.Module):
                stack.enter_context(keeping_state(module))
        yield


def trainable_parameters(network: nn.Module) -> dict[str, Tensor]:
    """Return leaves with the values of the parameters that train, on the same memory, for `loss_and_gradients`.

    Raises:
        ValueError: there is none; one is of complex numbers, or has hooks that change its gradient.
    """
    own = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not own:
        raise ValueError(f"{type(network).__name__} has no parameter that trains")
    for name, p in own.items():
        if p.is_complex():
            raise ValueError(f"parameter '{name}' is of complex numbers, of which gradients are not measured")
        if p._backward_hooks:
            raise ValueError(f"parameter '{name}' has hooks on its gradient, which a measurement would not see; remove them first")
    return {name: p.detach().requires_grad_() for name, p in own.items()}


def loss_and_gradients(
    network: nn.Module,
    parameters: Mapping[str, Tensor],
    loss_fn: LossFunction,
    x: object,
    y: object,
    wanted: Sequence[Tensor] | Callable[[], Sequence[Tensor]],
    watching: AbstractContextManager | None = None,
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Return the loss that a training step would see with these parameters in place of the network's own, and gradients of it.

    The network runs in the modes it is in, on copies of its inputs and buffers. Every call, and the training step after
    it, draws the same random numbers (dropout, noise), from the global generators of the CPU and of x's CUDA device. A
    recorder does not count the pass. What activation checkpoints compute anew in the backward pass is by the same
    parameters and copies.

    Args:
        x: a tensor, or a tuple or dict of the network's arguments.
        wanted: the tensors whose gradients are asked for, or what returns them after the forward pass; that of one without is None.
        watching: what is entered for the forward pass alone.

    Raises:
        ValueError: the loss is not one number, or no function of the parameters; a checkpoint hides gradients; a parameter is
            also held in a list or the like, and used from there.
    """
    own = {name: p for name, p in network.named_parameters() if p.requires_grad}

    def both_passes() -> tuple[Tensor, tuple[Tensor | None, ...]]:
        args, kwargs = fresh_arguments(network, x)
        with watching or nullcontext():
            loss = one_number(loss_fn(network(*args, **kwargs), fresh(y)))
        refuse_hidden_gradients(loss)
        asked = list(wanted() if callable(wanted) else wanted)
        gradients = torch.autograd.grad(loss, [*asked, *own.values()], allow_unused=True)
        used = next((name for name, gradient in zip(own, gradients[len(asked) :]) if gradient is not None), None)
        if used is not None:
            raise ValueError(f"parameter '{used}' is also used from where no name of the network leads, so that it cannot be exchanged")
        return loss.detach(), gradients[: len(asked)]

    with rehearsing(x, network, loss_fn), torch.enable_grad():
        of_whole = {f"network.{name}": value for name, value in parameters.items()}
        return functional_call(BothPasses(network, both_passes), of_whole, ())


class BothPasses(nn.Module):
    """A network and what is done with it while other parameters stand in the place of its own."""

    def __init__(self, network: nn.Module, do: Callable[[], object]):
        super().__init__()
        self.network, self.do = network, do

    def forward(self) -> object:
        return self.do()


def refuse_hidden_gradients(loss: Tensor) -> None:
    """Refuse activation checkpoints of the older kind, within which only a whole backward pass finds gradients.

    Raises:
        ValueError: there is one.
    """
    if any(node.name() == "CheckpointFunctionBackward" for node in nodes_of(loss)):
        raise ValueError("a checkpoint with use_reentrant=True hides the gradients within it; measure with use_reentrant=False")


def nodes_of(loss: Tensor) -> Iterator[Node]:
    """Yield every node of the graph that a backward pass of the loss goes through."""
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [below for below, _ in node.next_functions]


def zero_if_none(gradients: Sequence[Tensor | None], of: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(value) if gradient is None else gradient.to_dense() for gradient, value in zip(gradients, of, strict=True)]


def one_number(loss: object) -> Tensor:
    """Return the loss as it is.

    Raises:
        ValueError: it is not one number, or no function of the parameters.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        what = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss_fn must return one number with a gradient in the parameters, not {what}")
    return loss
