"""How far updating the layers below moves a layer's gradient: internal covariate shift as Santurkar et al. 2018 define it."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from bn_repro.norms.modes import first_line, keeping_random_numbers, refuse_scripted
from bn_repro.probes.activations import checked_names
from bn_repro.probes.undisturbed import LossFunction, loss_and_gradients, trainable_parameters, zero_if_none


@torch.inference_mode(False)
def gradient_shift(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: LossFunction,
    x: object,
    y: object,
    layers: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return `{"<layer>/<measure>": number}` of the step that `optimizer` is about to make on the batch (x, y).

    G_i is the gradient of the loss in W_i with all layers at step t; G'_i the same with everything that the forward pass
    uses before it calls layer i, gamma and beta too, already at t + 1. W_i are the layer's parameters of two or more
    dimensions, so that arms with b, with gamma and beta, and with neither are compared in the same ones.

    The measures: `shift` ||G_i - G'_i||_2, `relative` ||G_i - G'_i|| / ||G_i||, `cosine` of the two, `gradient_norm` ||G_i||.
    A layer with nothing before it has a shift of 0.

    It costs a forward and a backward pass, and for every chosen layer another of each, the backward one down to that
    layer. Training is the same, bit for bit, with and without it: the update is made by a copy of the optimizer.

    Args:
        network: the bare module, not a wrapper that compiles or distributes it, in the mode it trains in.
        optimizer: with the learning rate of this step; its momentum and weight decay count, gradient clipping does not.
        x: a tensor, or a tuple or dict of the network's arguments.
        layers: names of submodules; by default all that have a `weight` of two or more dimensions.

    Raises:
        ValueError: a part is compiled or scripted; a layer is not called, or has no W with a gradient; the optimizer holds none of
            the network's parameters, needs a closure, or has hooks on its step, which a copy would not run.
    """
    refuse_scripted(network, "measure")
    layers = checked_names(layers)
    compiled = [name for name, module in network.named_modules() if is_compiled(module)]
    if compiled:
        which = f"module '{compiled[0]}'" if compiled[0] else type(network).__name__
        raise ValueError(f"{which} is compiled, which hides in what order parameters are used; measure it as it was before")
    now = trainable_parameters(network)
    order = Order()
    _, of_all = loss_and_gradients(network, now, loss_fn, x, y, list(now.values()), noting_order(network, now, order))
    gradients = {name: gradient for name, gradient in zip(now, of_all) if gradient is not None}
    after = parameters_after_step(network, optimizer, gradients)
    measures: dict[str, float] = {}
    for layer in layers_in(order, gradients) if layers is None else layers:
        weights = weights_of(layer, order, gradients)
        before = flat([gradients[name] for name in weights])
        moved = {name: value for name, value in after.items() if is_used_before(name, layer, order)}
        if moved:
            here = [now[name] for name in weights]
            _, there = loss_and_gradients(network, now | moved, loss_fn, x, y, here)
            shifted = flat(zero_if_none(there, here))
        else:
            shifted = before
        shift, norm = (before - shifted).norm(), before.norm()
        cosine = before @ shifted / (norm * shifted.norm())
        values = {"shift": shift, "relative": shift / norm, "cosine": cosine, "gradient_norm": norm}
        measures |= {f"{layer}/{measure}": value.item() for measure, value in values.items()}
    return measures


def is_compiled(module: nn.Module) -> bool:
    from torch._dynamo import OptimizedModule  # three seconds

    return module._compiled_call_impl is not None or isinstance(module, OptimizedModule)


@dataclass
class Order:
    """When, in functions called so far, modules were first called and parameters first used, by their names."""

    calls: dict[str, int] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)


class NotingUses(TorchFunctionMode):
    """Count functions as they are called, and note the first that is given each parameter."""

    def __init__(self, parameters: Mapping[str, Tensor], uses: dict[str, int]):
        super().__init__()
        self.names, self.uses, self.num_functions = {id(p): name for name, p in parameters.items()}, uses, 0

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        self.num_functions += 1
        for leaf in tree_leaves((args, kwargs)):
            if id(leaf) in self.names:
                self.uses.setdefault(self.names[id(leaf)], self.num_functions)
        return func(*args, **kwargs or {})


@contextmanager
def noting_order(network: nn.Module, parameters: Mapping[str, Tensor], order: Order) -> Iterator[None]:
    """Fill in the order in which a pass on these parameters calls modules and uses parameters."""
    noting = NotingUses(parameters, order.uses)

    def note(name: str) -> None:
        order.calls.setdefault(name, noting.num_functions)

    hooks = [module.register_forward_pre_hook(lambda *_, name=name: note(name)) for name, module in network.named_modules()]
    try:
        with noting:
            yield
    finally:
        for hook in hooks:
            hook.remove()


def is_used_before(parameter: str, layer: str, order: Order) -> bool:
    """Say whether a parameter, not of the layer itself, is used before the layer is called.

    One that no function is given counts with the call of the module that owns it, or of the nearest that is called.
    """
    if parameter.startswith(prefix_of(layer)):
        return False
    if parameter in order.uses:
        return order.uses[parameter] <= time_of(layer, order)
    owner = parameter.rpartition(".")[0]
    while owner not in order.calls:
        owner = owner.rpartition(".")[0]
    if layer not in order.calls:
        return order.calls[owner] < time_of(layer, order)
    return list(order.calls).index(owner) < list(order.calls).index(layer)


def prefix_of(layer: str) -> str:
    return f"{layer}." if layer else ""


def time_of(layer: str, order: Order) -> int:
    """Return after how many functions a layer was called or, if only its parameters are used, the first of them."""
    uses = [use - 1 for name, use in order.uses.items() if name.startswith(prefix_of(layer))]
    return order.calls.get(layer, min(uses, default=-1))


def layers_in(order: Order, gradients: Mapping[str, Tensor]) -> list[str]:
    owners = {owner_of_weight(name) for name, gradient in gradients.items() if gradient.dim() > 1}
    found = [name for name in order.calls if name in owners]
    if not found:
        raise ValueError("no module that is called has a weight of two or more dimensions with a gradient")
    return found


def owner_of_weight(parameter: str) -> str | None:
    """Return whose `weight` a parameter is, or makes, as those of weight_norm do."""
    owner, _, name = parameter.partition(".parametrizations.weight.") if ".parametrizations." in parameter else parameter.rpartition(".")
    return owner if ".parametrizations." in parameter or name.startswith("weight") else None


def weights_of(layer: str, order: Order, gradients: Mapping[str, Tensor]) -> list[str]:
    """Name the layer's parameters of two or more dimensions.

    Raises:
        ValueError: the layer is neither called nor its weight used, or there is none.
    """
    weights = [name for name, g in gradients.items() if name.startswith(prefix_of(layer)) and g.dim() > 1]
    if not weights or (layer not in order.calls and not order.uses.keys() & set(weights)):
        choices = ", ".join(layers_in(order, gradients))
        raise ValueError(f"layer '{layer}' is not called or has no weight with a gradient; choices: {choices}")
    return weights


def parameters_after_step(network: nn.Module, optimizer: torch.optim.Optimizer, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what one step of the optimizer makes of those of the network's parameters that it holds.

    Raises:
        ValueError: it holds none, or its step is no function of the gradients.
    """
    names = {p: name for name, p in network.named_parameters()}
    own = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(p in names for p in own):
        raise ValueError(f"the optimizer holds none of {type(network).__name__}'s parameters")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise ValueError(f"{type(optimizer).__name__} has hooks on its step, which a measurement would not run; remove them first")
    memo: dict[int, Any] = {}
    twin = copy.deepcopy(optimizer, memo)
    for name, value in vars(optimizer).items():  # what an optimizer's own way of being copied leaves out
        if name not in vars(twin) and name != "step":  # a scheduler's wrapper would step the original
            try:
                setattr(twin, name, copy.deepcopy(value, memo))
            except Exception:  # of a lock, a file, a tensor within a graph there is no copy
                setattr(twin, name, value)
    copies = [p for group in twin.param_groups for p in group["params"]]
    for parameter, copied in zip(own, copies):
        gradient = gradients.get(names.get(parameter, ""))
        copied.grad = None if gradient is None else gradient.clone()  # an optimizer may change it in place
    try:
        with keeping_random_numbers(*own):
            twin.step()
    except Exception as error:
        raise ValueError(f"{type(optimizer).__name__} cannot step on one gradient without a closure ({first_line(error)})") from error
    return {names[parameter]: copied.detach() for parameter, copied in zip(own, copies) if parameter in names}


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors to one vector, in float64 so that a small difference of large gradients is one."""
    return torch.cat([tensor.to_dense().flatten().double() for tensor in tensors])
