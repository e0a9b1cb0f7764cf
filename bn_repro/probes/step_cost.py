"""What a training step takes of a network beside another one, say that without norms: time of its passes, and memory between them."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bn_repro.benchmarks.timing import ratios
from bn_repro.norms.calling import arguments_of, tensors_in
from bn_repro.probes.undisturbed import LossFunction, one_number, rehearsing

ROUNDS, REPEATS = 20, 3


def step_cost(
    network: nn.Module, other: nn.Module, loss_fn: LossFunction, x: object, y: object, rounds: int = ROUNDS, repeats: int = REPEATS
) -> dict[str, float]:
    """Return `{"forward", "backward", "both", "memory"}` of a training step of `network`, each over that of `other`.

    The first three are times, medians over rounds of the two networks in turn, so that a busy machine slows both; they
    differ from call to call. `memory` is the bytes that a forward pass keeps for the backward pass, beside the parameters.
    Both run in the modes that they are in, with the random numbers of the next step; training is the same, bit for bit, with
    and without it.

    Args:
        x: a tensor, or a tuple or dict of the networks' arguments.
        repeats: passes of a round.

    Raises:
        ValueError: a network has no parameter that trains, or the loss is not one number with a gradient in them.
    """
    settle = torch.cuda.synchronize if any(tensor.is_cuda for tensor in tensors_in(x)) else lambda: None
    with rehearsing(network, x), rehearsing(other, x), torch.enable_grad():
        both = [Passes(one, loss_fn, x, y) for one in (network, other)]

        def compared(work: Callable[[Passes], object]) -> float:
            ours, theirs = (partial(repeated, work, passes, repeats) for passes in both)
            return statistics.median(ratios(ours, theirs, rounds, settle))

        return {
            "forward": compared(Passes.forward),
            "backward": compared(Passes.backward),
            "both": compared(lambda passes: passes.gradients(passes.forward())),
            "memory": both[0].bytes_kept() / both[1].bytes_kept(),
        }


def repeated(work: Callable[[Any], object], passes: "Passes", repeats: int) -> None:
    for _ in range(repeats):
        work(passes)


class Passes:
    """The passes of one network over one batch."""

    def __init__(self, network: nn.Module, loss_fn: LossFunction, x: object, y: object):
        self.network, self.loss_fn, self.y = network, loss_fn, y
        self.args, self.kwargs = arguments_of(network, x)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError(f"{type(network).__name__} has no parameter that trains")
        self.loss = self.forward()

    def forward(self) -> Tensor:
        return one_number(self.loss_fn(self.network(*self.args, **self.kwargs), self.y))

    def gradients(self, loss: Tensor, keeps: bool = False) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss, self.parameters, retain_graph=keeps, allow_unused=True)

    def backward(self) -> tuple[Tensor, ...]:
        """Take the gradients of the one loss that was kept."""
        return self.gradients(self.loss, keeps=True)

    def bytes_kept(self) -> int:
        return bytes_kept(self.network, self.forward)


def bytes_kept(module: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Count the bytes that a forward pass keeps for the backward pass, beside the parameters."""
    kept: dict[int, int] = {}
    parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()  # all of it stays, even where a view is kept
        if memory.data_ptr() not in parameters:
            kept[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = forward()  # kept, or memory that it frees is counted once for two
    assert y.requires_grad
    return sum(kept.values())
