"""How large activations and gradients are at each depth: without BN they grow or vanish with it (Bjorck et al. 2018)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bn_repro.probes.layers import Layer, layers_of
from bn_repro.probes.undisturbed import LossFunction, loss_at, trainable_parameters


def magnitudes(network: nn.Module, loss_fn: LossFunction, x: object, y: object) -> dict[str, float]:
    """Return `{"<layer>/<measure>": root mean square}` of every layer g(norm(affine(u))), in the order of the network.

    The layers are those with children `affine` and `norm`; of a network without any, its linear layers and convolutions,
    each with the norm that reads it, if one does, under the name of the linear layer or convolution.

    The measures: `affine` and `output` of the activations (the output of a layer of the second kind is its norm's),
    `affine_gradient` and `output_gradient` of the loss's gradients in them, `weight_gradient` of that in W. Of a layer that
    is called several times, over all calls. One forward and one backward pass, in the modes the network is in, and one
    more forward pass to find layers of the second kind; training is the same, bit for bit, with and without it.

    Args:
        x: a tensor, or a tuple or dict of the network's arguments.

    Raises:
        ValueError: the network has no such layer, or no parameter that trains.
    """
    parameters = trainable_parameters(network)
    layers = layers_of(network, x)
    values: dict[str, list[Tensor]] = {}
    with keeping_outputs(layers, values):
        loss = loss_at(network, parameters, loss_fn, x, y)
    weights = {name: p for name, p in parameters.items() if p.dim() > 1}
    wanted = [*(value for calls in values.values() for value in calls), *weights.values()]
    gradients = iter(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))
    of_values = {place: [next(gradients) for _ in calls] for place, calls in values.items()}
    of_weights = dict(zip(weights, gradients))
    measures = {}
    for name, layer in layers.items():
        for place in (f"{name}/affine", f"{name}/output"):
            if place in values:  # a layer that the pass does not call has none
                measures[place] = rms(values[place])
                measures[f"{place}_gradient"] = rms(of_values[place])
        own = [gradient for weight, gradient in of_weights.items() if weight.startswith(f"{layer.affine_name}.")]
        measures[f"{name}/weight_gradient"] = rms(own) if own else 0.0
    return measures


@contextmanager
def keeping_outputs(layers: dict[str, Layer], values: dict[str, list[Tensor]]) -> Iterator[None]:
    def keep(*places: str):
        def hook(module: nn.Module, args: tuple[object, ...], output: Tensor) -> Tensor:
            # With frozen weights below, the gradient in it is asked for all the same.
            value = output if output.requires_grad else output.detach().requires_grad_()
            for place in places:
                values.setdefault(place, []).append(value)
            return value.clone()  # what follows may change it in place, as ReLU does

        return hook

    hooks = []
    try:
        for name, layer in layers.items():
            places = [(layer.affine, f"{name}/affine"), (layer.last, f"{name}/output")]
            by_module = {module: [place for each, place in places if each is module] for module, _ in places}
            hooks += [module.register_forward_hook(keep(*own)) for module, own in by_module.items()]
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rms(tensors: list[Tensor]) -> float:
    """Return the root mean square of all elements of the tensors."""
    square = sum(tensor.detach().double().square().sum() for tensor in tensors)
    return (square / sum(tensor.numel() for tensor in tensors)).sqrt().item()
