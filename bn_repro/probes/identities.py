"""Do the paper's exact statements hold in a trained network: scale invariance (section 3.3), folding (section 3.1)?"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bn_repro.norms import fold_batch_norms, normalizing_by_batch
from bn_repro.norms.calling import call, tensors_in
from bn_repro.norms.modes import copied, evaluating, first_line
from bn_repro.probes.layers import not_in_sequence
from bn_repro.probes.undisturbed import rehearsing, undisturbed


@torch.inference_mode(False)
def scale_invariance_errors(network: nn.Module, x: Tensor, scale: float, generator: torch.Generator) -> dict[str, float]:
    """Return how far section 3.3's three identities are from holding, for W scaled to aW; the worst layer counts.

    The layers are the submodules with an `affine` that has a `weight`, and a `norm` after it, as a pass of x shows; of one that
    is called several times, the last input. What is not finite makes its error nan.

    With f(W) = BN(W u) at each layer's own input u and a random output gradient: `output` compares f(aW) with
    f(W), `input_gradient` df(aW)/du with df(W)/du, `weight_gradient` df(aW)/d(aW) with (1/a) df(W)/dW. Each is
    the l2 norm of the difference over that of the right-hand side. All are float32, with the layer's own eps.

    Args:
        x: a batch of the network's inputs; a tensor, or a tuple or dict of its arguments.
        scale: the factor a.

    Raises:
        ValueError: the network has no such layer, or one takes more than one input.
    """
    inputs: dict[str, Tensor] = {}
    layers = {
        name: layer
        for name, layer in network.named_modules()
        if hasattr(getattr(layer, "affine", None), "weight") and isinstance(getattr(layer, "norm", None), nn.Module)
    }
    if not layers:
        raise ValueError(f"{type(network).__name__} has no layer with children 'affine', which has a weight, and 'norm'")
    computed = [name for name, layer in layers.items() if layer.affine._parameters.get("weight") is None]
    if computed:
        raise ValueError(f"layer '{computed[0]}' has a weight that is computed anew in each pass, and cannot be scaled")
    wrong = not_in_sequence(layers, network, x, is_up_to_norm=True)
    layers = {name: layer for name, layer in layers.items() if name not in wrong}
    hooks = [layer.register_forward_pre_hook(keep_input(inputs, name), with_kwargs=True) for name, layer in layers.items()]
    try:
        with undisturbed(network):
            call(network, x)
    finally:
        for hook in hooks:
            hook.remove()
    if not inputs:
        raise ValueError(f"{type(network).__name__} calls no layer that is norm(affine(u))")
    worst = {"output": 0.0, "input_gradient": 0.0, "weight_gradient": 0.0}
    for name, u in inputs.items():
        with torch.enable_grad(), torch.autocast(u.device.type, enabled=False):
            try:
                out, by_u, by_w = output_and_gradients(layers[name], u, 1.0, generator.clone_state())
                out_a, by_u_a, by_w_a = output_and_gradients(layers[name], u, scale, generator.clone_state())
            except TypeError as error:
                raise ValueError(f"layer '{name}' is no function of one input ({first_line(error)})") from error
        errors = (relative(out_a, out), relative(by_u_a, by_u), relative(by_w_a, by_w / scale))
        worst = {key: float(np.maximum(value, error)) for (key, value), error in zip(worst.items(), errors)}
    return worst


def keep_input(inputs: dict[str, Tensor], name: str):
    def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        inputs[name] = (*args, *kwargs.values())[0].detach().clone()

    return hook


def output_and_gradients(layer: nn.Module, u: Tensor, scale: float, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return norm((aW) u) and the gradients in u and in aW of its product with a random tensor, by the batch's statistics."""
    affine, norm = copied(layer.affine).requires_grad_(), copied(layer.norm)
    with torch.no_grad():
        affine.weight.mul_(scale)
    u = u.to(affine.weight.dtype).clone().requires_grad_()
    with normalizing_by_batch(norm):
        output = norm(affine(u))
    direction = torch.randn(output.shape, generator=generator).to(output)
    return output.detach(), *torch.autograd.grad(output, [u, affine.weight], direction)


def relative(value: Tensor, reference: Tensor) -> float:
    return ((value - reference).norm() / reference.norm().clamp_min(torch.finfo(reference.dtype).tiny)).item()


@torch.no_grad()
def folding_error(network: nn.Module, x: Tensor) -> tuple[int, float]:
    """Return (number of folded norms, largest output difference over largest output) of the folded network.

    Args:
        x: a batch of the network's inputs; a tensor, or a tuple or dict of its arguments.

    Raises:
        ValueError: the batch is empty, or the outputs have no numbers to compare.
    """
    folded = fold_batch_norms(network)
    with evaluating(network), rehearsing(x, network):
        expected = tensors_in(call(network, x))
    with evaluating(folded), rehearsing(x, folded):  # with the same random numbers, if it draws any
        found = tensors_in(call(folded, x))
    both = [(value, other) for value, other in zip(found, expected, strict=True) if other.is_floating_point() and other.numel()]
    if not both:
        raise ValueError(f"{type(network).__name__} returns no tensor of real numbers for this batch, so that nothing can be compared")
    num_folded = num_batch_norms(network) - num_batch_norms(folded)
    return num_folded, float(np.max([relative_gap(value, other) for value, other in both]))  # which NaN passes


def num_batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


def relative_gap(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest finite number expected; equal infinities and two NaN do not differ."""
    is_same = (found == expected) | (found.isnan() & expected.isnan())
    gap = (found - expected).abs().masked_fill(is_same, 0).max()
    return (gap / expected.masked_fill(~expected.isfinite(), 0).abs().max()).item() if gap != 0 else 0.0
