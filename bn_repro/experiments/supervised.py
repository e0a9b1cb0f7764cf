"""A run that trains a network on labelled examples: task, training and probes, joined from one config."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bn_repro.config import VIRTUAL_NORMS, Config
from bn_repro.experiments.image_task import image_task
from bn_repro.experiments.probing import activation_probe, generator_of, measures_before_step
from bn_repro.experiments.run import KeepRow, Poll, Report, carry_out
from bn_repro.experiments.tasks import Task
from bn_repro.experiments.text_tasks import language_model_task, text_classifier_task
from bn_repro.norms import batch_norms, estimate_population_statistics, keep_reference
from bn_repro.records.record import DIVERGED, FINISHED, STOPPED_AT_CHANCE
from bn_repro.training.checkpoint import check_fits, max_bytes_of
from bn_repro.training.distributed import (
    average_population_statistics,
    averaging_gradients,
    gathered,
    num_ranks,
    own_part,
    part_of_batch,
    pooled_statistics,
    rank,
    synchronized,
)
from bn_repro.training.loop import TrainState, train
from bn_repro.training.optimizers import build_optimizer

RANK_SEEDS = 1_000_003  # between the seeds of dropout of two ranks, so that no rank has another seed's
AT_CHANCE = 1.5  # times the accuracy of chance, below which a network has not begun to train


def run(config: Config, report: Report = lambda *_: None, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Do one run of training; see `carry_out`."""
    return carry_out(config, Supervised, report, is_stopping)


class Supervised:
    """Train the configured network on the configured data."""

    def __init__(self, config: Config):
        self.config, self.is_at_chance = config, False
        self.latest: float | None = None
        self.state, self.task = build(config)
        self.max_bytes = max_bytes_of(self.state.network)
        self.watched = self.task.examples.first(config.data.evaluate_size)
        self.probe_x, self.probe_y = self.task.examples.between(0, config.probe.batch_size)
        self.probe = activation_probe(self.state.network, config.probe)

    @property
    def step(self) -> int:
        return self.state.step

    @property
    def first_bad_step(self) -> int | None:
        return self.state.first_bad_step

    @property
    def status(self) -> str:
        return DIVERGED if self.first_bad_step is not None else STOPPED_AT_CHANCE if self.is_at_chance else FINISHED

    def as_plain(self) -> dict[str, Any]:
        return gathered(self.state.as_plain(), self.state.network)

    def check_fits(self, path: Path, plain: Any) -> None:
        check_fits(path, plain, self.state.network, self.state.optimizer)

    def restore(self, plain: dict[str, Any]) -> None:
        self.state.restore(own_part(plain))

    def conditions(self) -> dict[str, int]:
        """Say which examples of a step a batch norm sees."""
        part = part_of_batch(self.config.train.batch_size)
        of_a_norm = part * (num_ranks() if self.config.train.sync_bn else 1)
        return {"num_ranks": num_ranks(), "batch_per_rank": part, "batch_of_a_norm": of_a_norm}

    def go(self, keep_row: KeepRow, save: Poll, poll: Poll) -> None:
        def measure(step: int, train_loss: float | None) -> bool:
            keep_row(*self.row(step, train_loss, poll))
            return self.is_at_chance

        train(self.state, self.task.batches, self.config.train, measure, save, poll)

    def row(self, step: int, train_loss: float | None, poll: Poll) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
        """Return the metrics before a step and, where the probe is due, what it records."""
        config, network = self.config, self.state.network
        with pooled_statistics(network):
            accuracy, loss, _ = self.task.evaluate(network, self.watched, poll, config.data.evaluate_batch)
        self.latest = accuracy
        is_judged = config.train.stop_at_chance is not None and config.train.stop_at_chance <= step < config.train.steps
        self.is_at_chance = is_judged and accuracy < AT_CHANCE / config.data.num_classes
        row = {"step": step, "train_loss": train_loss, "accuracy": accuracy, "loss": loss, "bias_norm": bias_norm(network)}
        row |= measures_before_step(self.state, self.task.batches, self.probe_x, config)
        if not (config.probe.every and (step % config.probe.every == 0 or step == config.train.steps)):
            return row, None
        logits, arrays = self.probe(self.probe_x, generator_of(config, step))
        row["probe_loss"] = nn.functional.cross_entropy(logits, self.probe_y).item()
        return row, arrays

    def final(self, poll: Poll) -> tuple[dict[str, Any], np.ndarray | None]:
        assert self.latest is not None
        measures, is_correct = final_measures(self.state, self.task, self.config, self.latest, poll)
        return {"num_parameters": sum(p.numel() for p in self.state.network.parameters())} | measures, is_correct

    def weights(self) -> dict[str, Tensor]:
        return self.state.network.state_dict()


def build(config: Config) -> tuple[TrainState, Task]:
    """Build the untrained state, and what it learns.

    Raises:
        OSError: the dataset is nowhere to be had.
        ValueError: a batch cannot be split over the ranks, or a language model does not fit.
    """
    part_of_batch(config.train.batch_size)
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)  # sigmoid networks without BN make denormals, which are slow on a CPU
    torch.manual_seed(config.seed + RANK_SEEDS * rank())  # dropout, which differs between ranks
    device = torch.device(config.device)
    task = build_task(config, device)
    if config.network.norm in VIRTUAL_NORMS:
        keep_reference(task.network, reference_batch(task.batches, config.train.reference_size))
    if config.train.sync_bn:
        task.network = synchronized(task.network)
    network = task.network
    select_trainable(network, config.train.trainable)
    state = TrainState(network, build_optimizer(network, config.train), forward=averaging_gradients(network))
    if config.train.is_compiled:
        state.forward = torch.compile(state.forward, mode="reduce-overhead" if device.type == "cuda" else "default")
    return state, task


def reference_batch(batches: Any, size: int) -> Tensor:
    """Return the first training examples of the run's own order: the same on all ranks, in evaluation, and after a resume.

    Raises:
        ValueError: there are not so many.
    """
    if size > len(batches.images):
        raise ValueError(f"train.reference_size={size} is more than the {len(batches.images)} training examples")
    return type(batches)(batches.images, size, batches.seed).at(0)[0]


def build_task(config: Config, device: torch.device) -> Task:
    """Build what the config's kind of network learns."""
    builders = {"language_model": language_model_task, "text_classifier": text_classifier_task}
    return builders.get(config.network.name, image_task)(config, device)


def final_measures(
    state: TrainState, task: Task, config: Config, accuracy: float, poll: Callable[[], None]
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Measure the trained network: accuracy by Algorithm 2 beside moving averages, and what else its task asks.

    Besides, return of each example whether it is right, in order; None of a diverged network.
    """
    network, batch_size = state.network, config.data.evaluate_batch
    measures = {"accuracy_moving_averages": accuracy, "accuracy": accuracy, "num_batch_norms": len(batch_norms(network))}
    if state.first_bad_step is not None:
        return measures, None
    with pooled_statistics(network):
        measures["accuracy"], loss, is_correct = task.evaluate(network, task.examples, poll, batch_size)
    measures |= {"accuracy_moving_averages": measures["accuracy"], "num_test_images": len(task.examples)}
    if batch_norms(network):
        inputs = (task.batches.at(config.train.steps + number)[0] for number in range(config.train.population_batches))
        estimate_population_statistics(network, inputs)
        average_population_statistics(network)
        measures["accuracy"], loss, is_correct = task.evaluate(network, task.examples, poll, batch_size)
    return measures | task.closing_measures(network, loss, poll), is_correct


def select_trainable(network: nn.Module, pattern: str) -> None:
    """Freeze all parameters but those whose names match.

    Raises:
        ValueError: none matches.
    """
    names = [name for name, p in network.named_parameters() if not p.requires_grad_(bool(re.fullmatch(pattern, name))).requires_grad]
    if len(names) == len(list(network.parameters())):
        raise ValueError(f"train.trainable='{pattern}' matches no parameter; there are {', '.join(names)}")


@torch.no_grad()
def bias_norm(network: nn.Module) -> float | None:
    """Return the l2 norm of all biases b that stand before a norm or a nonlinearity; None without any."""
    biases = [p.flatten() for name, p in network.named_parameters() if name.endswith("affine.bias")]
    return torch.cat(biases).norm().item() if biases else None
