"""What each norm costs beside batch norm at the same shapes: forward pass, backward pass, memory kept between them (Goldberg 2017)."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from bn_repro import norms
from bn_repro.benchmarks.timing import Comparison, Work, ratios
from bn_repro.networks import NormalizedTanh, SigmoidMLP
from bn_repro.norms.virtual_batch_norm import taking_reference
from bn_repro.probes.step_cost import bytes_kept

SHAPES = ((60, 100), (32, 64, 14, 14))  # of a layer of the sigmoid network, of one of the small Inception
VIRTUAL = ("virtual_batch", "virtual_batch_with_example")
COMPARED = ("layer", "group", *VIRTUAL)
REFERENCE_SIZE = 128


def compare_norms(rounds: int, repeats: int = 20, device: str = "cpu", settle: Work = lambda: None) -> Iterator[Comparison]:
    """Yield the rows of each norm beside batch norm in training; those of a virtual norm with the passes of its reference batch."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        x = torch.randn(shape, generator=generator).to(device)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

    for shape in SHAPES:
        x, x_ref = drawn(*shape).requires_grad_(), drawn(REFERENCE_SIZE, *shape[1:])
        batch_norm, with_tanh = (nn.Sequential(built("batch", x), *after).to(device) for after in ([], [nn.Tanh()]))
        compared = {name: (built(name, x).to(device), batch_norm, "batch norm") for name in COMPARED}
        compared["tanh(h) / ||tanh(h)||"] = NormalizedTanh(), with_tanh, "batch norm, then tanh"
        for name, (norm, other, beside) in compared.items():
            if name in VIRTUAL:
                alone = ratios(reference_pass(norm, x_ref, repeats), forward(other, x, repeats), rounds, settle)
                yield Comparison(f"{name} {shape}, reference pass of {REFERENCE_SIZE} alone", f"{beside}, forward", alone, 0)
                norms.keep_reference(norm, x_ref)
            label = f"{name} {shape}"
            yield Comparison(f"{label}, forward", beside, ratios(forward(norm, x, repeats), forward(other, x, repeats), rounds, settle), 0)
            backwards = ratios(backward(norm, x, repeats), backward(other, x, repeats), rounds, settle)
            yield Comparison(f"{label}, backward", beside, backwards, 0)
            kept, kept_by_other = (bytes_kept(partial(module, x), module.parameters()) for module in (norm, other))
            yield Comparison(f"{label}, memory kept for it", beside, [kept / kept_by_other], 0)
    images, reference = drawn(60, 28, 28), drawn(REFERENCE_SIZE, 28, 28)
    for name in COMPARED:
        both = [SigmoidMLP(28 * 28, 10, norm=norm).to(device) for norm in (name, "batch")]
        if name in VIRTUAL:
            norms.keep_reference(both[0], reference)
        ours, theirs = (step(network, images, repeats) for network in both)
        yield Comparison(f"{name}, a step of the sigmoid network", "batch norm", ratios(ours, theirs, rounds, settle), 0)


def built(name: str, x: Tensor) -> nn.Module:
    return norms.build_norm(name, x.shape[1], x.dim() - 2, 1e-5, 0.1)


def reference_pass(norm: nn.Module, x_ref: Tensor, repeats: int) -> Work:
    def work() -> None:
        for _ in range(repeats):
            with taking_reference(norm):
                norm(x_ref)

    return work


def forward(norm: nn.Module, x: Tensor, repeats: int) -> Work:
    """Return forward passes as in training, with what they keep for the backward pass."""

    def work() -> None:
        for _ in range(repeats):
            norm(x)

    return work


def backward(norm: nn.Module, x: Tensor, repeats: int) -> Work:
    """Return backward passes of one forward pass, to the input and to the parameters."""
    y = norm(x)
    inputs = [x, *norm.parameters()]

    def work() -> None:
        for _ in range(repeats):
            torch.autograd.grad(y, inputs, torch.ones_like(y), retain_graph=True)

    return work


def step(network: nn.Module, x: Tensor, repeats: int) -> Work:
    def work() -> None:
        for _ in range(repeats):
            network(x).sum().backward()

    return work
