"""What a training step takes of a network beside another one, say that without norms: time of its passes, and memory between them."""

import statistics
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn

from bn_repro.norms.calling import call_with, fresh, fresh_arguments, tensors_in
from bn_repro.norms.modes import first_line
from bn_repro.probes.undisturbed import LossFunction, nodes_of, one_number, rehearsing

ROUNDS, REPEATS = 20, 3


def step_cost(
    network: nn.Module, other: nn.Module, loss_fn: LossFunction, x: object, y: object, rounds: int = ROUNDS, repeats: int = REPEATS
) -> dict[str, float]:
    """Return `{"forward", "backward", "step", "memory"}` of a training step of `network`, each over that of `other`.

    The first three are times, of both passes together in `step`: medians over rounds of the two networks in turn, so that a
    busy machine slows both. They differ from call to call. `memory` is the bytes that autograd keeps between the passes;
    parameters, buffers and the batch, which are there anyway, do not count. The optimizer's part and the data's are left out.

    Both run in the modes that they are in and draw random numbers as training does. Training is the same, bit for bit, with
    and without it; hooks of the network are called with every pass.

    Args:
        network, other: the bare modules, not wrappers that compile or distribute them.
        x: a tensor, or a tuple or dict of the networks' arguments.
        repeats: passes of each network in a round.

    Raises:
        ValueError: a network has no parameter that trains, or the loss is not one number that depends on them; gradients are
            acted on as they arrive; autograd's memory cannot be seen, or there is none; `rounds` or `repeats` is below 1.
    """
    if min(rounds, repeats) < 1:
        raise ValueError(f"rounds={rounds} and repeats={repeats} must be at least 1")
    sides = [Side(module, loss_fn, x, y, parameters_of(module)) for module in (network, other)]
    parameters = [p for side in sides for p in side.parameters]
    with torch.inference_mode(False), torch.enable_grad(), rehearsing(x, network, other, loss_fn), ExitStack() as stack:
        reached = [leaf for side in sides for leaf in leaves_of(side.loss(*side.batch()))]  # perhaps in the loss too
        stack.enter_context(keeping_gradients([*parameters, *reached]))
        kept, kept_by_other = (side.bytes_kept() for side in sides)
        if not kept_by_other:
            raise ValueError(f"autograd keeps nothing between the passes of {type(other).__name__}, so that memory has no ratio")
        settle = waiting_for({tensor.device for tensor in (*tensors_in(x), *parameters) if tensor.device.type not in ("cpu", "meta")})
        for side in sides:
            side.seconds(settle)
            side.check_gradients()
        ratios = [ratios_of_round(sides, number, repeats, settle) for number in range(rounds)]
    names = ("forward", "backward", "step")
    return {name: statistics.median(values) for name, values in zip(names, zip(*ratios))} | {"memory": kept / kept_by_other}


def parameters_of(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that train.

    Raises:
        ValueError: there is none, or a hook acts on a gradient as it arrives, as an optimizer in the backward pass does.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(f"{type(network).__name__} has no parameter that trains")
    if any(getattr(p, "_post_accumulate_grad_hooks", None) for p in parameters):
        raise ValueError(f"{type(network).__name__} has hooks after the accumulation of gradients, which would act on every pass")
    return parameters


@contextmanager
def keeping_gradients(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Let backward passes leave gradients, and put back after what was there before."""
    before = [(p, p.grad) for p in parameters]
    try:
        yield
    finally:
        for p, gradient in before:
            p.grad = gradient


def leaves_of(loss: Tensor) -> list[Tensor]:
    """Return the tensors that a backward pass leaves gradients in; of older checkpoints not those within."""
    return [node.variable for node in nodes_of(loss) if node.name() == "torch::autograd::AccumulateGrad"]


def waiting_for(devices: Iterable[torch.device]) -> Callable[[], None]:
    """Return what waits until the devices have done all that was asked of them."""

    def settle() -> None:
        for device in devices:
            torch.accelerator.synchronize(device)

    return settle


def ratios_of_round(sides: "Sequence[Side]", number: int, repeats: int, settle: Callable[[], None]) -> tuple[float, float, float]:
    """Return the first side's over the second's time of forward passes, of backward passes, of both; sides take turns at being first."""
    seconds = {}
    for side in sides if number % 2 == 0 else reversed(sides):
        seconds[id(side)] = [sum(of_pass) for of_pass in zip(*(side.seconds(settle) for _ in range(repeats)))]
    ours, theirs = (seconds[id(side)] for side in sides)
    return ours[0] / theirs[0], ours[1] / theirs[1], sum(ours) / sum(theirs)


@dataclass
class Side:
    """One network with its batch; each pass has inputs and a graph of its own, as in training."""

    network: nn.Module
    loss_fn: LossFunction
    x: object
    y: object
    parameters: list[nn.Parameter]

    def batch(self) -> tuple[tuple[object, ...], dict[str, object], object]:
        """Return arguments and targets of a pass of its own."""
        return *fresh_arguments(self.network, self.x), fresh(self.y)

    def loss(self, args: tuple[object, ...], kwargs: dict[str, object], y: object) -> Tensor:
        return one_number(self.loss_fn(call_with(self.network, self.x, args, kwargs), y))  # type: ignore[arg-type]

    def seconds(self, settle: Callable[[], None]) -> tuple[float, float]:
        """Return how long a forward and a backward pass take."""
        args, kwargs, y = self.batch()
        for p in self.parameters:
            p.grad = None
        torch.clear_autocast_cache()  # which training leaves empty after each step
        settle()
        started = perf_counter()
        loss = self.loss(args, kwargs, y)
        settle()
        between = perf_counter()
        loss.backward()
        settle()
        return between - started, perf_counter() - between

    def check_gradients(self) -> None:
        if all(p.grad is None for p in self.parameters):
            raise ValueError(f"the loss does not depend on any parameter of {type(self.network).__name__} that trains")

    def bytes_kept(self) -> int:
        args, kwargs, y = self.batch()
        of_loss = self.loss_fn.parameters() if isinstance(self.loss_fn, nn.Module) else ()
        anyway = (*self.network.parameters(), *self.network.buffers(), *of_loss, *tensors_in((args, kwargs, y)))
        try:
            return bytes_kept(lambda: self.loss(args, kwargs, y), anyway)
        except RuntimeError as error:  # what torch raises of sparse tensors, of torch.func inside the network
            raise ValueError(f"what autograd keeps of {type(self.network).__name__} cannot be seen ({first_line(error)})") from error


class Kept:
    """A tensor for as long as autograd keeps it."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


def bytes_kept(forward: Callable[[], Tensor], anyway: Iterable[Tensor]) -> int:
    """Count the bytes that autograd keeps after a forward pass, beside those of tensors that are there anyway.

    All of a tensor's memory counts, once, also where a view of it is kept.
    """
    noted: list[weakref.ref[Kept]] = []

    def pack(tensor: Tensor) -> Kept:
        kept = Kept(tensor.detach())  # an output that knew its function would keep it, and itself, alive
        noted.append(weakref.ref(kept))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        output = forward()
    storages = [kept.tensor.untyped_storage() for reference in noted if (kept := reference()) is not None]
    del output  # its graph was needed till here
    not_counted = {tensor.untyped_storage().data_ptr() for tensor in anyway if tensor.layout is torch.strided}
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages if storage.data_ptr() not in not_counted}.values())
