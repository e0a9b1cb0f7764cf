"""What logging activations costs in training, beside none, naive hooks and wandb.watch, and how exact its percentiles are."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from bn_repro.benchmarks.memory import in_a_process_of_its_own, peak_megabytes
from bn_repro.benchmarks.timing import Comparison, Work, ratios_beside
from bn_repro.config import Config, WandbConfig
from bn_repro.config.images import of_images
from bn_repro.data.images import Batches, Images
from bn_repro.experiments.tracking import start_wandb
from bn_repro.networks import build_network
from bn_repro.probes import ActivationRecorder, Site

NUM_CLASSES = 10
PERCENTILES = (15, 50, 85)
MAX_RANK_ERROR = 0.01
MAX_MEGABYTES = 100
Logger = Callable[[int, Tensor], None]  # is given a step and its loss
Batch = tuple[Tensor, Tensor]


def compare_logging(config: Config, images: Images, rounds: int, slices: int, steps: int) -> Iterator[Comparison]:
    """Yield what each way to log adds to training, all of them and training without any in turn.

    Args:
        slices: of a round, between which all take turns.
        steps: of a slice; a round shall be a multiple of 100 steps.
    """
    batches = batches_of(config, images, num=20)
    with ExitStack() as stack:
        bare, again, often, seldom, naive, watched = (
            build_network(of_images(config)[1], images.shape, NUM_CLASSES, config.seed) for _ in range(6)
        )
        stack.enter_context(ActivationRecorder(often, every=10))
        stack.enter_context(ActivationRecorder(seldom, every=100))
        stack.enter_context(NaiveHooks(naive, every=10))
        log = stack.enter_context(wandb_watch(watched, config.wandb, every=10))
        works = {
            "no logging, once more": (again, None, 0.0),
            "our recorder every 10 steps": (often, None, 1.05),
            "our recorder every 100 steps": (seldom, None, 1.01),
            "naive hooks every 10 steps": (naive, None, 0.0),
            "wandb.watch(log='all') every 10 steps": (watched, log, 0.0),
        }
        timed = {what: training(network, config, batches, steps, log) for what, (network, log, _) in works.items()}
        found = ratios_beside(training(bare, config, batches, steps), timed, rounds, slices)
    for what, (_, _, bound) in works.items():
        yield Comparison(what, "no logging", found[what], bound)


def batches_of(config: Config, images: Images, num: int) -> list[Batch]:
    data, _ = of_images(config)
    batches = Batches(images, config.train.batch_size, config.seed, data.crop_padding, data.has_flips)
    return [batches.at(step) for step in range(num)]


def training(network: nn.Module, config: Config, batches: list[Batch], steps: int, log: Logger | None = None) -> Work:
    """Return so many steps of training, which go on where the last ones ended."""
    optimizer = torch.optim.SGD(network.parameters(), lr=config.train.lr, momentum=config.train.momentum)
    numbered = enumerate(itertools.cycle(batches))

    def work() -> None:
        for step, (x, y) in itertools.islice(numbered, steps):
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if log is not None:
                log(step, loss)

    return work


class NaiveHooks:
    """Log what the recorder logs, of all values, as one writes it the first time."""

    def __init__(self, network: nn.Module, every: int):
        self.network, self.every, self.step = network, every, -1
        self.rows: list[dict[str, object]] = []

    def __enter__(self) -> None:
        self.hooks = [self.network.register_forward_pre_hook(self.begin), *hooks_on(self.network, self.log)]

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def begin(self, network: nn.Module, args: object) -> None:
        self.step += 1

    def log(self, name: str, values: Tensor) -> None:
        if self.step % self.every == 0:
            values = values.detach().flatten()
            self.rows.append(
                {
                    f"{name}/percentiles": torch.quantile(values, torch.tensor(PERCENTILES) / 100).tolist(),
                    f"{name}/mean": values.mean().item(),
                    f"{name}/std": values.std().item(),
                    f"{name}/histogram": torch.histc(values, 100, -10, 10).cpu().numpy(),
                }
            )


def hooks_on(network: nn.Module, see: Callable[[str, Tensor], None]) -> list[RemovableHandle]:
    """Have `see` called with the name and the values of each site of the recorder in every pass."""

    def hook(sites: list[Site], module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        for site in sites:
            see(site.name, args[0] if site.is_input else output)

    sites_of = ActivationRecorder(network).sites
    return [module.register_forward_hook(partial(hook, sites)) for module, sites in sites_of.items()]


@contextmanager
def wandb_watch(network: nn.Module, settings: WandbConfig, every: int) -> Iterator[Logger]:
    """Have W&B, offline and in a folder that goes with it, watch all parameters and gradients."""
    with tempfile.TemporaryDirectory() as folder:
        run = start_wandb(replace(settings, folder=folder), "offline", "benchmark/logging/watch", {}, job_type="benchmark")
        run.watch(network, log="all", log_freq=every)

        def log(step: int, loss: Tensor) -> None:
            if step % every == 0:
                run.log({"loss": loss.item()})

        try:
            yield log
        finally:
            run.unwatch(network)
            run.finish()


def megabytes_added(config: Config, shape: tuple[int, ...], steps: int = 100) -> float:
    """Return by how much the recorder, every 10 steps, raises the peak of a training process's resident memory."""
    without, recorded = (in_a_process_of_its_own(peak_of_training, config, shape, steps, is_recorded) for is_recorded in (False, True))
    return recorded - without


def peak_of_training(config: Config, shape: tuple[int, ...], steps: int, is_recorded: bool) -> float:
    torch.set_num_threads(1)
    network = build_network(of_images(config)[1], shape, NUM_CLASSES, config.seed)
    x = torch.randn((config.train.batch_size, *shape), generator=torch.Generator().manual_seed(0))
    work = training(network, config, [(x, torch.arange(len(x)) % NUM_CLASSES)], steps)
    with ActivationRecorder(network, every=10) if is_recorded else nullcontext() as recorder:
        work()
    if recorder is not None:
        recorder.arrays()
    return peak_megabytes()


def rank_errors_after(config: Config, images: Images, steps: int) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """Train for so many steps and return `rank_errors` of the next pass."""
    network = build_network(of_images(config)[1], images.shape, NUM_CLASSES, config.seed)
    *batches, last = batches_of(config, images, steps + 1)
    training(network, config, batches, steps)()
    return rank_errors(network, last[0])


def rank_errors(network: nn.Module, x: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """Return by site the exact percentiles of a training pass, the recorder's, and their largest rank error."""
    all_values: dict[str, np.ndarray] = {}

    def keep(name: str, values: Tensor) -> None:
        all_values[name] = values.detach().flatten().numpy().copy()

    with ActivationRecorder(network, percentiles=PERCENTILES) as recorder:
        hooks = hooks_on(network, keep)
        network(x)
    for hook in hooks:
        hook.remove()
    arrays, found = recorder.arrays(), {}
    for name, values in all_values.items():
        ours = arrays[f"{name}/percentiles"][0]
        errors = [rank_error(values, estimate, percentile) for estimate, percentile in zip(ours, PERCENTILES)]
        found[name] = np.percentile(values, PERCENTILES), ours, max(errors)
    return found


def rank_error(values: np.ndarray, estimate: float, percentile: float) -> float:
    """Return how far an estimate's rank among all values is from the percentile's, as a share of the values.

    An estimate that several values equal has all their ranks, of which the nearest counts.
    """
    share_below, share_up_to = float(np.mean(values < estimate)), float(np.mean(values <= estimate))
    return max(share_below - percentile / 100, percentile / 100 - share_up_to, 0.0)
