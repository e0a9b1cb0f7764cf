"""What virtual batch norm costs beside batch norm: a layer's passes, and a network's with the pass of its reference batch."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bn_repro import norms
from bn_repro.benchmarks.timing import Comparison, Work, ratios
from bn_repro.networks import SigmoidMLP

SHAPES = ((60, 100), (32, 64, 14, 14))  # of a layer of the sigmoid network, of one of the small Inception
FORMS = ("virtual_batch", "virtual_batch_with_example")
REFERENCE_SIZE = 128


def compare_virtual_batch_norm(rounds: int, repeats: int = 20) -> Iterator[Comparison]:
    """Yield the rows of both forms, forward alone and with the backward pass, beside batch norm in training."""
    generator = torch.Generator().manual_seed(0)
    for shape in SHAPES:
        x, x_ref = (torch.randn(num, *shape[1:], generator=generator).requires_grad_() for num in (shape[0], REFERENCE_SIZE))
        for form in FORMS:
            for is_backward in (False, True):
                both = (layer(name, x, x_ref, is_backward, repeats) for name in (form, "batch"))
                passes = "forward and backward" if is_backward else "forward"
                yield Comparison(f"{form} {shape}, {passes}, with a reference of {REFERENCE_SIZE}", "batch norm", ratios(*both, rounds), 0)
    images, reference = (torch.rand(num, 28, 28, generator=generator) for num in (60, REFERENCE_SIZE))
    for form in FORMS:
        both = (step(name, images, reference, repeats) for name in (form, "batch"))
        yield Comparison(
            f"{form}, a step of the sigmoid network, with a reference of {REFERENCE_SIZE}", "batch norm", ratios(*both, rounds), 0
        )


def layer(name: str, x: Tensor, x_ref: Tensor, is_backward: bool, repeats: int) -> Work:
    """Return passes of one norm; of a virtual one each with a pass of its reference, whose gradient counts too."""
    norm = norms.build_norm(name, x.shape[1], x.dim() - 2, 1e-5, 0.1)
    return passes_of(norm, x, x_ref, is_backward, repeats)


def step(name: str, x: Tensor, x_ref: Tensor, repeats: int) -> Work:
    return passes_of(SigmoidMLP(28 * 28, 10, norm=name), x, x_ref, True, repeats)


def passes_of(network: nn.Module, x: Tensor, x_ref: Tensor, is_backward: bool, repeats: int) -> Work:
    if any(isinstance(module, norms.VirtualBatchNorm) for module in network.modules()):
        norms.keep_reference(network, x_ref)

    def work() -> None:
        for _ in range(repeats):
            with torch.set_grad_enabled(is_backward):
                y = network(x)
            if is_backward:
                y.sum().backward()

    return work
