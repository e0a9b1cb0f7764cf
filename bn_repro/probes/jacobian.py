"""Are the singular values of layer Jacobians close to 1 under BN: the conjecture that section 3.3 leaves untested."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bn_repro.norms import normalizing_by_batch
from bn_repro.probes.magnitudes import normed_layers
from bn_repro.probes.undisturbed import undisturbed

MAX_DENSE = 2**20  # elements of a Jacobian that is written out; the singular values of 1024 x 1024 take a CPU half a second
NUM_TOP = 8  # largest singular values that are estimated of a larger one
NUM_EXTRA = 8  # vectors iterated beside those; they speed up convergence
NUM_ITERATIONS = 8
NUM_DRAWS = 32  # of random vectors for the mean square: its relative error is below sqrt(2 / 32), and far below with a flat spectrum


def layer_jacobians(
    network: nn.Module,
    x: Tensor,
    generator: torch.Generator,
    num_examples: int = 1,
    has_nonlinearity: bool = False,
    layers: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Return `{"<layer>/<measure>": array}` of d out / d u of every layer out = g(norm(affine(u))), at its input u in a pass of x.

    Of one example, the batch's mean and variance being constants: for a linear layer, diag(g' gamma / sigma_B) W.
    `singular_values` (examples, K) are in descending order: all of them, exact, where the Jacobian has at most `MAX_DENSE`
    elements (`is_exact`), else the `NUM_TOP` largest by subspace iteration, which are not overestimated. `mean_square` is
    the mean of their squares, ||J||_F^2 / min(inputs, outputs), over the examples; estimated where not `is_exact`.

    Of the whole batch, the statistics being functions of it: `batch_largest`, the largest singular value of the map of all
    of u to all outputs, as gradients see it; by the same iteration, so not overestimated.

    It takes some hundred times a training step: it is meant for a few moments of a run, or some of its layers.

    Args:
        generator: of the random vectors; training draws nothing.
        num_examples: the first so many examples of the batch.
        has_nonlinearity: include g; otherwise the map ends with the norm, and under BN is the same for all examples.
        layers: the names of some; by default all that have children `affine` and `norm`.
    """
    chosen = normed_layers(network)
    chosen = chosen if layers is None else {name: chosen[name] for name in layers}
    inputs = inputs_of(chosen, network, x)
    arrays = {}
    for name, layer in chosen.items():
        own = copy.deepcopy(layer).requires_grad_(False)
        if not has_nonlinearity:
            own.nonlinearity = nn.Identity()
        with normalizing_by_batch(own):
            arrays[f"{name}/batch_largest"] = largest_singular_values(Jacobian(own, inputs[name]), generator, 1)[0].cpu().numpy()
        keep_statistics_of(own, inputs[name])
        spectra = [spectrum(Jacobian(own, u[None]), generator) for u in inputs[name][:num_examples]]
        arrays[f"{name}/singular_values"] = torch.stack([values for values, _, _ in spectra]).cpu().numpy()
        arrays[f"{name}/mean_square"] = np.mean([square for _, square, _ in spectra])
        arrays[f"{name}/is_exact"] = np.asarray(spectra[0][2])
    return arrays


def inputs_of(layers: dict[str, nn.Module], network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return what each layer reads in a pass of x under batch statistics."""
    inputs: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda layer, args: inputs.update({name: args[0].clone()})

    hooks = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]
    try:
        with undisturbed(network):
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return inputs


def keep_statistics_of(layer: nn.Module, u: Tensor) -> None:
    """Make the batch's mean and biased variance those that the layer's norms use in evaluation mode, and enter it."""
    sizes: dict[nn.Module, int] = {}
    for norm in layer.modules():
        if hasattr(norm, "running_mean"):
            norm.momentum = 1.0
            norm.register_forward_pre_hook(lambda norm, args: sizes.update({norm: args[0].numel() // args[0].shape[1]}))
    with torch.no_grad(), normalizing_by_batch(layer):
        layer(u)
    for norm, size in sizes.items():
        norm.running_var.mul_((size - 1) / size)
    layer.eval()


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
