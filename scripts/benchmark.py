"""What our code costs beside the plainest code that does the same, as interleaved ratios: python scripts/benchmark.py"""

import argparse
import dataclasses
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from bn_repro import norms
from bn_repro.command_line import configs_of
from bn_repro.config import Config
from bn_repro.data.images import NUM_CLASSES, Batches, Images, load_images
from bn_repro.networks import build_network
from bn_repro.probes import ActivationProbe, sites_around
from bn_repro.progress import Progress, RunProgress
from bn_repro.training.loop import TrainState, train

EXPERIMENT = "mnist_sigmoid/long"
Work = Callable[[], None]


def ratios(ours: Work, theirs: Work, rounds: int) -> list[float]:
    """Time both in turn, so that a machine whose speed drifts slows both, and return our time over theirs, each round."""
    ours(), theirs()
    found = []
    for number in range(rounds):
        seconds = {}
        for work in (ours, theirs) if number % 2 else (theirs, ours):
            started = time.perf_counter()
            work()
            seconds[work] = time.perf_counter() - started
        found.append(seconds[ours] / seconds[theirs])
    return found


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
    network = build_network(config.network, (28, 28), NUM_CLASSES, config.seed)
    state = TrainState(network, torch.optim.SGD(network.parameters(), lr=config.train.lr))
    batches = Batches(images, config.train.batch_size, config.seed)
    probe = ActivationProbe(network, sites_around(network), config.probe.percentiles, config.probe.num_units, config.probe.histogram_bins)
    probe_x, _ = images.between(0, config.probe.batch_size)
    settings = dataclasses.replace(config.train, eval_every=config.probe.every)
    progress = Progress(1, Console(quiet=True))
    shown = progress.running[0] = RunProgress("benchmark")

    def poll() -> None:
        shown.update(state.step, settings.steps, None)
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


def mistake_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "scripts/train.py", f"experiment={EXPERIMENT}", "train.lrr=1"], capture_output=True, check=False)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    table = Table(title=f"our time over theirs, median \\[quartiles] of {rounds} interleaved rounds, one thread", title_justify="left")
    for header in ("what", "beside what", "ratio", "at most"):
        table.add_column(header)

    def row(what: str, beside: str, found: list[float], bound: float) -> None:
        low, middle, high = statistics.quantiles(found, n=4)
        table.add_row(what, beside, f"{middle:.3f} [{low:.3f}, {high:.3f}]", f"{bound:.2f}")

    arms = {config.norm: config for config in configs_of(EXPERIMENT)}
    images, _ = load_images(arms["none"].data, torch.device("cpu"))
    for norm, config in arms.items():
        bare = bare_loop(images, norm, config.train.lr, 500)
        row(f"training step, norm={norm}", "hand-written loop", ratios(our_loop(config, images, 500, False), bare, rounds), 1.05)
    for norm, config in arms.items():
        steps = 2 * config.probe.every
        found = ratios(our_loop(config, images, steps, True), our_loop(config, images, steps, False), rounds)
        row(f"probes every {config.probe.every} steps, norm={norm}", "no probes", found, 1.02)
    for dims, shape, repeats in ((1, (60, 100), 300), (2, (32, 64, 14, 14), 20)):
        x = torch.randn(shape, requires_grad=True)
        ours, theirs = getattr(norms, f"BatchNorm{dims}d")(shape[1]), getattr(nn, f"BatchNorm{dims}d")(shape[1])
        row(f"BatchNorm{dims}d {shape}", "torch's", ratios(norm_pass(ours, x, repeats), norm_pass(theirs, x, repeats), rounds), 1.05)
    Console().print(table)
    print(f"a mistake on the command line is answered in {statistics.median(mistake_seconds() for _ in range(5)):.2f} s (at most 1)")


if __name__ == "__main__":
    main()
