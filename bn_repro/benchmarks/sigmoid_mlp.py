"""What training the sigmoid network, its probes and our batch norms cost beside a hand-written loop and torch's layers."""

import dataclasses
from collections.abc import Iterator

import torch
from rich.console import Console
from torch import nn
from torch.nn import functional as F

from bn_repro import norms
from bn_repro.benchmarks.timing import Comparison, Work, ratios
from bn_repro.config import Config
from bn_repro.config.images import of_images
from bn_repro.data.images import Batches, Images
from bn_repro.launcher.progress import Progress, RunProgress
from bn_repro.networks import build_network
from bn_repro.probes import ActivationProbe, sites_around
from bn_repro.training.loop import TrainState, train

NUM_CLASSES = 10


def compare_sigmoid_mlp(arms: dict[str, Config], images: Images, rounds: int, steps: int = 500) -> Iterator[Comparison]:
    """Yield the rows of the sigmoid network.

    Args:
        arms: a config for each norm.
        steps: of one round.
    """
    for norm, config in arms.items():
        bare = bare_loop(images, norm, config.train.lr, steps)
        found = ratios(our_loop(config, images, steps, has_probe=False), bare, rounds)
        yield Comparison(f"training step, norm={norm}", "hand-written loop", found, 1.03)
    for norm, config in arms.items():
        probed, unprobed = (our_loop(config, images, 4 * steps, has_probe) for has_probe in (True, False))
        yield Comparison(f"probes every {config.probe.every} steps, norm={norm}", "no probes", ratios(probed, unprobed, rounds), 1.02)
    for dims, shape, repeats in ((1, (60, 100), 300), (2, (32, 64, 14, 14), 20)):
        x = torch.randn(shape, requires_grad=True)
        ours, theirs = (norm_pass(getattr(module, f"BatchNorm{dims}d")(shape[1]), x, repeats) for module in (norms, nn))
        yield Comparison(f"BatchNorm{dims}d {shape}", "torch's", ratios(ours, theirs, rounds), 1.05)


def bare_loop(images: Images, norm: str, lr: float, steps: int) -> Work:
    """Return the same network and training written by hand, on floats made beforehand."""
    x, y = images.between(0, len(images))
    layers: list[nn.Module] = []
    for fan_in in (784, 100, 100):
        layers += [nn.Linear(fan_in, 100, bias=norm == "none"), *([nn.BatchNorm1d(100)] if norm == "batch" else []), nn.Sigmoid()]
    network = nn.Sequential(nn.Flatten(), *layers, nn.Linear(100, NUM_CLASSES))
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)

    def work() -> None:
        for _ in range(steps):
            index = torch.randint(len(y), (60,))
            loss = F.cross_entropy(network(x.index_select(0, index)), y.index_select(0, index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return work


def our_loop(config: Config, images: Images, steps: int, has_probe: bool) -> Work:
    network = build_network(of_images(config)[1], (28, 28), NUM_CLASSES, config.seed)
    state = TrainState(network, torch.optim.SGD(network.parameters(), lr=config.train.lr))
    batches = Batches(images, config.train.batch_size, config.seed)
    probe = ActivationProbe(network, sites_around(network), config.probe.percentiles, config.probe.num_units, config.probe.histogram_bins)
    probe_x, _ = images.between(0, config.probe.batch_size)
    settings = dataclasses.replace(config.train, eval_every=config.probe.every)
    progress = Progress(1, Console(quiet=True))
    shown = progress.running[0] = RunProgress("benchmark")

    def poll() -> None:
        shown.update(state.step, settings.steps, "-")
        progress.refresh()

    def measure(step: int, train_loss: float | None) -> None:
        if has_probe:
            probe(probe_x)

    def work() -> None:
        train(state, batches, dataclasses.replace(settings, steps=state.step + steps), measure, lambda: None, poll)

    return work


def norm_pass(norm: nn.Module, x: torch.Tensor, repeats: int) -> Work:
    def work() -> None:
        for _ in range(repeats):
            norm(x).sum().backward()

    return work
