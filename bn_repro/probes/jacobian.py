"""Are the singular values of layer Jacobians close to 1 under BN: the conjecture that section 3.3 leaves untested."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from bn_repro.norms import normalizing_by_batch
from bn_repro.norms.calling import call, is_empty, tensors_in
from bn_repro.norms.modes import copied, first_line, put_in_evaluation
from bn_repro.norms.torchs_own import is_followed_by_activation
from bn_repro.norms.virtual_batch_norm import is_reference_pass
from bn_repro.probes.activations import checked_names
from bn_repro.probes.layers import Layer, layers_of
from bn_repro.probes.undisturbed import undisturbed

MAX_DENSE = 2**20  # elements of a Jacobian that is written out; the singular values of 1024 x 1024 take a CPU half a second
NUM_TOP = 8  # largest singular values that are estimated of a larger one
NUM_EXTRA = 8  # vectors iterated beside those; they speed up convergence
NUM_ITERATIONS = 8
TOLERANCE = 1e-3  # relative, of what a layer gives by statistics that are held
NUM_DRAWS = 32  # of random vectors for the mean square: its relative error is below sqrt(2 / 32), and far below with a flat spectrum


@torch.inference_mode(False)
def layer_jacobians(
    network: nn.Module,
    x: object,
    generator: torch.Generator,
    num_examples: int = 1,
    has_nonlinearity: bool = False,
    layers: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Return `{"<layer>/<measure>": array}` of d out / d u of every layer out = g(norm(affine(u))), at its input u in a pass of x.

    The layers are those of `magnitudes`: with children `affine` and `norm` or, in a network without any, linear layers and
    convolutions with the norm that reads them, if one does; these have no g. Of a layer that is called several times, the
    first input.

    Of one example, the batch's mean and variance being constants: for a linear layer, diag(g' gamma / sigma_B) W.
    `singular_values` (examples, K) are in descending order: all of them, exact, where the Jacobian has at most `MAX_DENSE`
    elements (`is_exact`), else the `NUM_TOP` largest by subspace iteration, which are not overestimated. `mean_square` is
    the mean of their squares, ||J||_F^2 / min(inputs, outputs), over the examples; estimated where not `is_exact`.

    Of the whole batch, the statistics being functions of it: `batch_largest`, the largest singular value of the map of all
    of u to all outputs, as gradients see it; by the same iteration, so not overestimated.

    It takes some hundred times a training step: it is meant for a few moments of a run, or some of its layers.

    Args:
        x: a tensor, or a tuple or dict of the network's arguments.
        generator: of the random vectors; training draws nothing. Give it another seed than the weights were drawn by, since
            vectors that are like rows of W make `mean_square` and `batch_largest` too large.
        num_examples: the first so many examples of the batch.
        has_nonlinearity: include g; otherwise the map ends with the norm, and under BN is the same for all examples.
        layers: the names of some; by default all.

    Raises:
        ValueError: there is no such layer, it is not called, it has no g, or its norm does not let its statistics be held.
    """
    if is_empty(x) or num_examples < 1:
        raise ValueError(f"num_examples={num_examples} of a batch of {len(tensors_in(x)[0])} leave nothing to measure")
    found = layers_of(network, x)
    layers = checked_names(layers)
    unknown = [name for name in layers or () if name not in found]
    if unknown:
        raise ValueError(f"{type(network).__name__} has no layer '{unknown[0]}' to measure; choices: {', '.join(found)}")
    chosen = found if layers is None else {name: found[name] for name in layers}
    reads = {name: layer.affine if layer.is_whole and not has_nonlinearity else layer.first for name, layer in chosen.items()}
    inputs = inputs_of(reads, network, x)
    arrays: dict[str, np.ndarray] = {}
    for name, layer in chosen.items():
        if name not in inputs:
            raise ValueError(f"layer '{name}' is not called by the forward pass")
        u = inputs[name].float() if is_half_precision(inputs[name]) else inputs[name]
        with torch.enable_grad(), torch.autocast(u.device.type, enabled=False):
            found_of = jacobian_of_layer(map_of(name, layer, has_nonlinearity), u.clone(), name, generator, num_examples)
        arrays |= {f"{name}/{measure}": value for measure, value in found_of.items()}
    return arrays


def jacobian_of_layer(own: nn.Module, u: Tensor, name: str, generator: torch.Generator, num_examples: int) -> dict[str, np.ndarray]:
    """Measure the map `own` of a layer at its input u; its norms' statistics are held from here on.

    Raises:
        ValueError: it has complex weights, takes more than one input, or its norm does not let its statistics be held.
    """
    if any(tensor.is_complex() for tensor in (u, *own.parameters())):
        raise ValueError(f"layer '{name}' is of complex numbers, whose Jacobian is not measured")
    with normalizing_by_batch(own):
        try:
            jacobian = Jacobian(own, u)
        except TypeError as error:
            raise ValueError(f"layer '{name}' is no function of one input ({first_line(error)})") from error
        largest = largest_singular_values(jacobian, generator, 1)[0].cpu().numpy()
    hold_statistics(own, u, name)
    spectra = [spectrum(Jacobian(own, one[None]), generator) for one in u[:num_examples]]
    return {
        "batch_largest": largest,
        "singular_values": torch.stack([values for values, _, _ in spectra]).cpu().numpy(),
        "mean_square": np.mean([square for _, square, _ in spectra]),
        "is_exact": np.asarray(spectra[0][2]),
    }


def map_of(name: str, layer: Layer, has_nonlinearity: bool) -> nn.Module:
    """Return a copy of a layer that ends with its norm, or with its nonlinearity, in single precision at least."""
    if layer.is_whole:
        own = copied(layer.last)
        if not has_nonlinearity:
            own = nn.Sequential(own.affine, own.norm)
    elif has_nonlinearity and not is_followed_by_activation(layer.last):
        raise ValueError(f"layer '{name}' has no nonlinearity of its own; has_nonlinearity=False measures what comes before")
    else:
        own = nn.Sequential(*(copied(part) for part in layer.parts))
        if is_followed_by_activation(own[-1]) and not has_nonlinearity:
            own[-1].act = nn.Identity()
    is_half = any(is_half_precision(tensor) for tensor in (*own.parameters(), *own.buffers()))
    return (own.float() if is_half else own).requires_grad_(False)


def is_half_precision(tensor: Tensor) -> bool:
    """Say whether torch has no singular values for a tensor."""
    return tensor.is_floating_point() and tensor.itemsize < 4


def inputs_of(modules: dict[str, nn.Module], network: nn.Module, x: object) -> dict[str, Tensor]:
    """Return what each module is first called with, before its own hooks, in a pass of x under batch statistics."""
    inputs: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            if name not in inputs and not is_reference_pass():
                inputs[name] = (*args, *kwargs.values())[0].clone()

        return hook

    hooks = [module.register_forward_pre_hook(keep(name), prepend=True, with_kwargs=True) for name, module in modules.items()]
    try:
        with undisturbed(network):
            call(network, x)
    finally:
        for hook in hooks:
            hook.remove()
    return inputs


def hold_statistics(layer: nn.Module, u: Tensor, name: str) -> None:
    """Let the layer's norms use the mean and biased variance of the batch u, whatever they are given then.

    Raises:
        ValueError: a norm that is neither torch's nor this package's does not let them be held.
    """
    if {type(module).__module__.partition(".")[0] for module in layer.modules()} <= {"torch", "bn_repro"}:
        keep_statistics_of(layer, u)
        return
    with torch.no_grad(), normalizing_by_batch(layer):
        expected = layer(u)
    keep_statistics_of(layer, u)
    with torch.no_grad():
        held = torch.cat([layer(one[None]) for one in u])
    if not (held - expected).norm() <= TOLERANCE * expected.norm():
        raise ValueError(f"layer '{name}' has a norm whose batch statistics cannot be held: {type(layer).__name__}")


def keep_statistics_of(layer: nn.Module, u: Tensor) -> None:
    """Make the batch's mean and biased variance those that the layer's norms use in evaluation mode, and enter it."""
    sizes: dict[nn.Module, int] = {}
    before: dict[nn.Module, Tensor] = {}
    for norm in layer.modules():
        if isinstance(norm, _InstanceNorm):  # whose statistics are of each example
            norm.running_mean = norm.running_var = None
            norm.track_running_stats = False
        elif isinstance(norm, _BatchNorm) and norm.running_mean is None:
            like = u.new_zeros(norm.num_features)
            norm.running_mean, norm.running_var = like, like.clone()
        if getattr(norm, "running_mean", None) is not None:
            norm.momentum, norm.track_running_stats, before[norm] = 1.0, True, norm.running_var.clone()
            norm.running_var.mul_(2)
            norm.register_forward_pre_hook(lambda norm, args: sizes.update({norm: args[0].numel() // args[0].shape[1]}))
    with torch.no_grad(), normalizing_by_batch(layer):
        layer(u)
    for norm, size in sizes.items():
        is_frozen = torch.equal(norm.running_var, 2 * before[norm])  # and keeps what it is given
        norm.running_var.copy_(before[norm] if is_frozen else norm.running_var * ((size - 1) / size))
    put_in_evaluation(layer)


class Jacobian:
    """The Jacobian J (outputs, inputs) of f at u, by its products with vectors; a vector is a row."""

    def __init__(self, f: Callable[[Tensor], Tensor], u: Tensor):
        self.u = u.detach().requires_grad_()
        self.output = f(self.u)
        self.shape = (self.output.numel(), u.numel())
        self.weights = torch.zeros_like(self.output, requires_grad=True)
        (self.weighted,) = torch.autograd.grad(self.output, self.u, self.weights, create_graph=True)  # J^T weights

    def pull(self, rows: Tensor) -> Tensor:  # (K, outputs) -> (K, inputs)
        return gradients(self.output, self.u, rows)

    def push(self, rows: Tensor) -> Tensor:  # (K, inputs) -> (K, outputs); the Jacobian of J^T weights is J^T
        return gradients(self.weighted, self.weights, rows)

    def random_inputs(self, num: int, generator: torch.Generator) -> Tensor:
        return torch.randn(num, self.shape[1], generator=generator).to(self.u)


def gradients(value: Tensor, variable: Tensor, rows: Tensor) -> Tensor:
    """Return, for each row of weights of the value's elements, the gradient of the weighted sum: (K, variables)."""
    return torch.stack([torch.autograd.grad(value, variable, row.view_as(value), retain_graph=True)[0].flatten() for row in rows])


def spectrum(jacobian: Jacobian, generator: torch.Generator) -> tuple[Tensor, float, bool]:
    """Return (singular values, mean square, is exact)."""
    num_outputs, num_inputs = jacobian.shape
    if num_outputs * num_inputs <= MAX_DENSE:
        values = torch.linalg.svdvals(jacobian.pull(torch.eye(num_outputs).to(jacobian.u)))
        return values, values.square().mean().item(), True
    # E |J v|^2 = ||J||_F^2 for v ~ N(0, I)
    squares = jacobian.push(jacobian.random_inputs(NUM_DRAWS, generator)).square().sum(1)
    return largest_singular_values(jacobian, generator, NUM_TOP), squares.mean().item() / min(jacobian.shape), False


def largest_singular_values(jacobian: Jacobian, generator: torch.Generator, num: int) -> Tensor:
    """Return `num` singular values by subspace iteration (Halko et al. 2011); none is overestimated."""
    size = min(num + NUM_EXTRA, *jacobian.shape)
    pushed = jacobian.push(jacobian.random_inputs(size, generator))
    for _ in range(NUM_ITERATIONS):
        basis = torch.linalg.qr(jacobian.pull(pushed).T).Q.T
        pushed = jacobian.push(basis)
    return torch.linalg.svdvals(pushed)[:num]
