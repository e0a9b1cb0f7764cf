"""How large activations and gradients are at each depth: without BN they grow or vanish with it (Bjorck et al. 2018)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bn_repro.probes.undisturbed import LossFunction, loss_at, trainable_parameters


def magnitudes(network: nn.Module, loss_fn: LossFunction, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return `{"<layer>/<measure>": root mean square}` of every layer g(norm(affine(u))), in the order of the network.

    The measures: `affine` and `output` of the activations, `affine_gradient` and `output_gradient` of the loss's gradients
    in them, `weight_gradient` of that in W. One forward and one backward pass, in the modes the network is in; training is
    the same, bit for bit, with and without it.
    """
    layers = normed_layers(network)
    parameters = trainable_parameters(network)
    values: dict[str, Tensor] = {}
    with keeping_outputs(layers, values):
        loss = loss_at(network, parameters, loss_fn, x, y)
    weights = {name: p for name, p in parameters.items() if p.dim() > 1}
    wanted = [*values.values(), *weights.values()]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    of_values, of_weights = dict(zip(values, gradients)), dict(zip(weights, gradients[len(values) :]))
    measures = {}
    for layer in layers:
        for place in ("affine", "output"):
            measures[f"{layer}/{place}"] = rms([values[f"{layer}/{place}"]])
            measures[f"{layer}/{place}_gradient"] = rms([of_values[f"{layer}/{place}"]])
        own = [gradient for name, gradient in of_weights.items() if name.startswith(f"{layer}.affine.")]
        measures[f"{layer}/weight_gradient"] = rms(own) if own else 0.0
    return measures


def normed_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return, by name, the submodules with children `affine` and `norm`."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(getattr(layer, "affine", None), nn.Module) and isinstance(getattr(layer, "norm", None), nn.Module)
    }


@contextmanager
def keeping_outputs(layers: dict[str, nn.Module], values: dict[str, Tensor]) -> Iterator[None]:
    def keep(name: str):
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            # With frozen weights below, the gradient in it is asked for all the same.
            values[name] = output if output.requires_grad else output.detach().requires_grad_()
            return values[name].clone()  # what follows may change it in place, as ReLU does

        return hook

    hooks = []
    try:
        for name, layer in layers.items():
            hooks.append(layer.affine.register_forward_hook(keep(f"{name}/affine")))
            hooks.append(layer.register_forward_hook(keep(f"{name}/output")))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rms(tensors: list[Tensor]) -> float:
    """Return the root mean square of all elements of the tensors."""
    square = sum(tensor.detach().double().square().sum() for tensor in tensors)
    return (square / sum(tensor.numel() for tensor in tensors)).sqrt().item()
