"""Which layers g(norm(affine(u))) any network has: those that are built so, or what its linear layers and convolutions feed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from bn_repro.norms.calling import call
from bn_repro.norms.modes import is_norm, refuse_scripted
from bn_repro.probes.undisturbed import rehearsing


@dataclass(frozen=True)
class Layer:
    """An affine map and what follows it.

    Args:
        affine_name: the network's name of the affine map.
        first, last: the modules whose input and whose output are the layer's.
        parts: the modules that make up the layer, in order; of a layer that is one module, that.
        is_whole: the layer is one module with children `affine`, `norm` and perhaps `nonlinearity`.
    """

    affine_name: str
    affine: nn.Module
    first: nn.Module
    last: nn.Module
    parts: tuple[nn.Module, ...]
    is_whole: bool


def normed_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return, by name, the submodules with children `affine` and `norm`."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(getattr(layer, "affine", None), nn.Module) and isinstance(getattr(layer, "norm", None), nn.Module)
    }


def not_in_sequence(layers: dict[str, nn.Module], network: nn.Module, x: object, is_up_to_norm: bool = False) -> set[str]:
    """Return the names of the layers that, in a pass of x, are no nonlinearity(norm(affine(input))), or norm(affine(input)).

    Args:
        is_up_to_norm: whatever a layer does with norm(affine(input)).
    """
    seen: dict[nn.Module, tuple[object, object]] = {}  # first input and output

    def see(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
        seen.setdefault(module, (next(iter((*args, *kwargs.values())), None), output))

    parts = {name: (layer.affine, layer.norm, getattr(layer, "nonlinearity", None)) for name, layer in layers.items()}
    watched = {module for name, layer in layers.items() for module in (layer, *parts[name]) if isinstance(module, nn.Module)}
    show_one_pass(network, x, [module.register_forward_hook(see, with_kwargs=True) for module in watched])
    wrong = set()
    for name, layer in layers.items():
        if layer in seen:
            value, end = seen[layer]
            affine, norm, _ = parts[name]
            is_fed = affine in seen and norm in seen and seen[affine][0] is value and seen[norm][0] is seen[affine][1]
            for part in parts[name]:
                if part is not None and seen.get(part, (None, None))[0] is value:
                    value = seen[part][1]
            if not is_fed or (value is not end and not is_up_to_norm):
                wrong.add(name)
    return wrong


def show_one_pass(network: nn.Module, x: object, hooks: Sequence[RemovableHandle]) -> None:
    """Let hooks see one pass of x, as training would make it, and remove them."""
    try:
        with rehearsing(x, network), torch.no_grad():
            call(network, x)
    finally:
        for hook in hooks:
            hook.remove()


def layers_of(network: nn.Module, x: object) -> dict[str, Layer]:
    """Return the layers with children `affine` and `norm`, one after the other, by name; of a network without any, what a pass of x shows.

    Those are its linear layers and convolutions in the order of their first calls, each with the norm that reads its output,
    if one does.

    Raises:
        ValueError: it has neither, or a part is scripted.
    """
    refuse_scripted(network, "measure")
    normed = normed_layers(network)
    unsure = {name: layer for name, layer in normed.items() if not isinstance(layer, nn.Sequential)}
    wrong = not_in_sequence(unsure, network, x) if unsure else set()
    normed = {name: layer for name, layer in normed.items() if name not in wrong}
    if normed:
        return {name: Layer(f"{name}.affine", each.affine, each, each, (each,), True) for name, each in normed.items()}
    names = {module: name for name, module in network.named_modules()}
    outputs: list[tuple[nn.Module, Tensor, int]] = []  # of affine maps, with the outputs' versions
    norms: dict[nn.Module, nn.Module] = {}

    def see_output(affine: nn.Module, args: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append((affine, output, output._version))

    def see_input(norm: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        u = next(iter((*args, *kwargs.values())), None)
        for affine, output, version in outputs:
            if output is u and u._version == version:  # not changed in place on the way
                norms.setdefault(affine, norm)

    hooks = [module.register_forward_hook(see_output) for module in names if isinstance(module, (nn.Linear, _ConvNd))]
    hooks += [module.register_forward_pre_hook(see_input, with_kwargs=True) for module in names if is_norm(module)]
    show_one_pass(network, x, hooks)
    found = {}
    for affine, _, _ in outputs:
        parts = (affine, norms[affine]) if affine in norms else (affine,)
        found[names[affine]] = Layer(names[affine], affine, affine, parts[-1], parts, False)
    if not found:
        raise ValueError(f"{type(network).__name__} calls no linear layer or convolution as a module, so it has no layers to measure")
    return found
