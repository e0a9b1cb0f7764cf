"""How far updating the layers below moves a layer's gradient: internal covariate shift as Santurkar et al. 2018 define it."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bn_repro.probes.undisturbed import LossFunction, loss_at, trainable_parameters


def gradient_shift(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: LossFunction,
    x: Tensor,
    y: Tensor,
    layers: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return `{"<layer>/<measure>": number}` of the step that `optimizer` is about to make on the batch (x, y).

    G_i is the gradient of the loss in W_i with all layers at step t; G'_i the same with everything that the forward pass
    calls before layer i, gamma and beta too, already at t + 1. W_i are the layer's parameters of two or more dimensions,
    so that arms with b, with gamma and beta, and with neither are compared in the same ones.

    The measures: `shift` ||G_i - G'_i||_2, `relative` ||G_i - G'_i|| / ||G_i||, `cosine` of the two, `gradient_norm` ||G_i||.
    A layer with nothing before it has a shift of 0.

    It costs a forward and a backward pass, and for every chosen layer another of each, the backward one down to that
    layer. Training is the same, bit for bit, with and without it: the update is made by a copy of the optimizer.

    Args:
        network: the bare module, not a wrapper that compiles or distributes it, in the mode it trains in.
        optimizer: with the learning rate of this step; its momentum and weight decay count, gradient clipping does not.
        layers: names of submodules; by default all that have a `weight` of two or more dimensions.

    Raises:
        ValueError: a layer is not called, or has no W with a gradient.
    """
    now = trainable_parameters(network)
    with order_of_calls(network) as order:
        loss = loss_at(network, now, loss_fn, x, y)
    of_all = zip(now, torch.autograd.grad(loss, list(now.values()), allow_unused=True))
    gradients = {name: gradient for name, gradient in of_all if gradient is not None}
    after = parameters_after_step(network, optimizer, gradients)
    measures = {}
    for layer in layers_in(order, gradients) if layers is None else layers:
        weights = weights_of(layer, order, gradients)
        before = flat([gradients[name] for name in weights])
        moved = {name: value for name, value in after.items() if call_of(name, order) < order[layer]}
        if moved:
            here = [now[name] for name in weights]
            shifted = flat(torch.autograd.grad(loss_at(network, now | moved, loss_fn, x, y), here))
        else:
            shifted = before
        shift, norm = (before - shifted).norm(), before.norm()
        cosine = before @ shifted / (norm * shifted.norm())
        values = {"shift": shift, "relative": shift / norm, "cosine": cosine, "gradient_norm": norm}
        measures |= {f"{layer}/{measure}": value.item() for measure, value in values.items()}
    return measures


@contextmanager
def order_of_calls(network: nn.Module) -> Iterator[dict[str, int]]:
    """Yield what fills with `{module's name: number}`, from 0 up, in the order of the modules' first calls."""
    order: dict[str, int] = {}

    def note(name: str) -> None:
        order.setdefault(name, len(order))

    hooks = [module.register_forward_pre_hook(lambda *_, name=name: note(name)) for name, module in network.named_modules()]
    try:
        yield order
    finally:
        for hook in hooks:
            hook.remove()


def call_of(parameter: str, order: Mapping[str, int]) -> int:
    """Return when the module that owns a parameter is called; of one that is not called by itself, its parent."""
    owner = parameter.rpartition(".")[0]
    while owner not in order:
        owner = owner.rpartition(".")[0]
    return order[owner]


def layers_in(order: Mapping[str, int], gradients: Mapping[str, Tensor]) -> list[str]:
    owners = {name.rpartition(".")[0] for name, g in gradients.items() if g.dim() > 1 and name.endswith("weight")}
    return [name for name in order if name in owners]


def weights_of(layer: str, order: Mapping[str, int], gradients: Mapping[str, Tensor]) -> list[str]:
    """Name the layer's parameters of two or more dimensions.

    Raises:
        ValueError: the layer is not called, or there is none.
    """
    weights = [name for name, g in gradients.items() if name.startswith(f"{layer}.") and g.dim() > 1]
    if layer not in order or not weights:
        choices = ", ".join(layers_in(order, gradients))
        raise ValueError(f"layer '{layer}' is not called or has no weight with a gradient; choices: {choices}")
    return weights


def parameters_after_step(network: nn.Module, optimizer: torch.optim.Optimizer, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what one step of the optimizer makes of those of the network's parameters that it holds."""
    names = {p: name for name, p in network.named_parameters()}
    twin = copy.deepcopy(optimizer)
    own, copies = ([p for group in each.param_groups for p in group["params"]] for each in (optimizer, twin))
    for parameter, copied in zip(own, copies):
        copied.grad = gradients.get(names.get(parameter))
    twin.step()
    return {names[parameter]: copied.detach() for parameter, copied in zip(own, copies) if parameter in names}


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors to one vector, in float64 so that a small difference of large gradients is one."""
    return torch.cat([tensor.flatten().double() for tensor in tensors])
