"""How large activations and gradients are at each depth: without BN they grow or vanish with it (Bjorck et al. 2018)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bn_repro.norms.virtual_batch_norm import is_reference_pass
from bn_repro.probes.gradient_shift import owner_of_weight
from bn_repro.probes.layers import Layer, layers_of
from bn_repro.probes.undisturbed import LossFunction, loss_and_gradients, trainable_parameters, zero_if_none


@torch.inference_mode(False)
def magnitudes(network: nn.Module, loss_fn: LossFunction, x: object, y: object) -> dict[str, float]:
    """Return `{"<layer>/<measure>": root mean square}` of every layer g(norm(affine(u))), in the order of the network.

    The layers are those with children `affine` and `norm`; of a network without any, its linear layers and convolutions,
    each with the norm that reads it, if one does, under the name of the linear layer or convolution.

    The measures: `affine` and `output` of the activations (the output of a layer of the second kind is its norm's),
    `affine_gradient` and `output_gradient` of the loss's gradients with respect to them, `weight_gradient` of that in W. Of a layer that
    is called several times, over all calls. One forward and one backward pass, in the modes the network is in, and one
    more forward pass to find layers of the second kind; training is the same, bit for bit, with and without it.

    Args:
        x: a tensor, or a tuple or dict of the network's arguments.

    Raises:
        ValueError: the network has no such layer, or no parameter that trains.
    """
    parameters = trainable_parameters(network)
    layers = layers_of(network, x)
    weights = {name: p for name, p in parameters.items() if p.dim() > 1}
    kept: dict[str, list[Tensor]] = {}
    values: dict[str, list[Tensor]] = {}
    wanted: list[Tensor] = []

    def after_forward() -> list[Tensor]:
        values.update({place: list(calls) for place, calls in kept.items()})  # checkpoints call modules once more
        wanted.extend([*(value for calls in values.values() for value in calls), *weights.values()])
        return wanted

    with keeping_outputs(layers, kept):
        _, found = loss_and_gradients(network, parameters, loss_fn, x, y, after_forward)
    gradients = iter(zero_if_none(found, wanted))
    of_values = {place: [next(gradients) for _ in calls] for place, calls in values.items()}
    of_weights = dict(zip(weights, gradients))
    name_of = {id(p): name for name, p in network.named_parameters()}  # of one that several modules share, the first
    measures = {}
    for name, layer in layers.items():
        for place in (f"{name}/affine", f"{name}/output"):
            if place in values:  # a layer that the pass does not call has none
                measures[place] = rms(values[place])
                measures[f"{place}_gradient"] = rms(of_values[place])
        of_layer = [name_of[id(p)] for p in layer.affine.parameters()]
        matrices = [name for name in of_layer if name in of_weights]
        named_so = [name for name in matrices if owner_of_weight(name) is not None]  # some have gains of as many dimensions beside W
        own = [of_weights[name] for name in named_so or matrices]
        measures[f"{name}/weight_gradient"] = rms(own) if own else 0.0
    return measures


@contextmanager
def keeping_outputs(layers: dict[str, Layer], values: dict[str, list[Tensor]]) -> Iterator[None]:
    latest: dict[str, Tensor] = {}  # what an affine map gave last, as what follows reads it

    def keep(places: list[str], reads: dict[str, str]):
        def hook(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: Tensor) -> Tensor:
            if is_reference_pass():
                return output
            # With frozen weights below, the gradient in it is asked for all the same.
            value = output if output.requires_grad else output.detach().requires_grad_()
            u = next(iter((*args, *kwargs.values())), None)
            for place in places:
                if place not in reads or latest.get(reads[place]) is u:  # a norm that several layers share is this one's if it reads it
                    values.setdefault(place, []).append(value)
            given = value.clone()  # what follows may change it in place, as ReLU does
            latest.update(dict.fromkeys(places, given))
            return given

        return hook

    hooks: list[RemovableHandle] = []
    places: dict[nn.Module, list[str]] = {}
    reads: dict[str, str] = {}
    try:
        for name, layer in layers.items():
            for module, place in ((layer.affine, f"{name}/affine"), (layer.last, f"{name}/output")):
                places.setdefault(module, []).append(place)
            if not layer.is_whole and layer.last is not layer.affine:
                reads[f"{name}/output"] = f"{name}/affine"
        hooks += [module.register_forward_hook(keep(own, reads), with_kwargs=True) for module, own in places.items()]
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rms(tensors: list[Tensor]) -> float:
    """Return the root mean square of all elements of the tensors."""
    square = sum(tensor.detach().double().square().sum() for tensor in tensors)
    return (square / sum(tensor.numel() for tensor in tensors)).sqrt().item()
