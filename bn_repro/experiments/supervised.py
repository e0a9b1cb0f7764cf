"""What one run is: data, network, training, probes, record and W&B, joined from one config."""

import dataclasses
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bn_repro.checks.configs import check
from bn_repro.config import VIRTUAL_NORMS, Config
from bn_repro.experiments.environment import available_device
from bn_repro.experiments.image_task import image_task
from bn_repro.experiments.probing import activation_probe, generator_of, measures_before_step
from bn_repro.experiments.resuming import finished_summary, forget_unfounded_summary, resume_or_begin
from bn_repro.experiments.tasks import Task
from bn_repro.experiments.text_tasks import language_model_task, text_classifier_task
from bn_repro.experiments.tracking import Mirror
from bn_repro.norms import batch_norms, estimate_population_statistics, keep_reference
from bn_repro.records import files
from bn_repro.records.extent import RECORD
from bn_repro.records.record import DIVERGED, FINISHED, STOPPED_AT_CHANCE, Run, run_folder
from bn_repro.records.writing import RunWriter, SilentWriter
from bn_repro.training.checkpoint import save_checkpoint
from bn_repro.training.distributed import (
    average_population_statistics,
    averaging_gradients,
    from_first_rank,
    gathered,
    is_on_any_rank,
    join_ranks,
    part_of_batch,
    pooled_statistics,
    rank,
    synchronized,
)
from bn_repro.training.loop import Interrupted, TrainState, train
from bn_repro.training.optimizers import build_optimizer

RANK_SEEDS = 1_000_003  # between the seeds of dropout of two ranks, so that no rank has another seed's
AT_CHANCE = 1.5  # times the accuracy of chance, below which a network has not begun to train
Report = Callable[[int, int, float | None], None]


def run(config: Config, report: Report = lambda *_: None, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Do one run, or go on with it, or return the summary of the complete one.

    Under torchrun all processes do the run together, and the first writes its record.

    Args:
        report: called often with (step, number of steps, latest accuracy).
        is_stopping: when it says True in any process, the run saves its state and raises `Interrupted` in all.

    Raises:
        ValueError: the config cannot be meant, or the folder holds a run of another config.
        RunBusy: another process is at it.
        Interrupted: `is_stopping` said so; the same call goes on.
    """
    check(config)
    available_device(config.device)
    join_ranks(config.device)
    complete = from_first_rank(lambda: finished_summary(config))
    if complete:
        return complete
    writers: list[RunWriter] = []
    from_first_rank(lambda: writers.append(RunWriter(run_folder(config))))
    writer = writers[0] if writers else SilentWriter(run_folder(config))
    try:
        complete = from_first_rank(lambda: finished_summary(config))  # once more: another process may have held the folder till now
        if complete:
            return complete
        from_first_rank(lambda: forget_unfounded_summary(config))
        return _train_and_measure(config, writer, report, is_stopping)
    finally:
        writer.close()


def _train_and_measure(config: Config, writer: RunWriter | SilentWriter, report: Report, is_stopping: Callable[[], bool]) -> dict[str, Any]:
    state, task = build(config)
    watched = task.examples.first(config.data.evaluate_size)
    resume_or_begin(state, config, writer)
    probe_x, probe_y = task.examples.between(0, config.probe.batch_size)
    probe = activation_probe(state.network, config.probe)
    mirrored = config.wandb if rank() == 0 else dataclasses.replace(config.wandb, mode="disabled")
    mirror = Mirror(mirrored, Run(writer.folder).address, dataclasses.asdict(config))
    started, start_step, accuracy, summary = time.monotonic(), state.step, None, None
    is_at_chance = False

    def poll() -> None:
        report(state.step, config.train.steps, accuracy)
        if is_on_any_rank(is_stopping()):
            raise Interrupted

    def measure(step: int, train_loss: float | None) -> bool:
        nonlocal accuracy, is_at_chance
        with pooled_statistics(state.network):
            accuracy, loss, _ = task.evaluate(state.network, watched, poll, config.data.evaluate_batch)
        row = {"step": step, "train_loss": train_loss, "accuracy": accuracy, "loss": loss, "bias_norm": bias_norm(state.network)}
        row |= measures_before_step(state, task.batches, probe_x, config)
        arrays = None
        if config.probe.every and (step % config.probe.every == 0 or step == config.train.steps):
            logits, arrays = probe(probe_x, generator_of(config, step))
            row["probe_loss"] = nn.functional.cross_entropy(logits, probe_y).item()
            writer.append_activations(step, arrays)
        writer.append(row)
        mirror.log(row, arrays)
        is_judged = config.train.stop_at_chance is not None and config.train.stop_at_chance <= step < config.train.steps
        is_at_chance = is_judged and accuracy < AT_CHANCE / config.data.num_classes
        return is_at_chance

    def save() -> None:
        writer.sync()
        plain = gathered(state.as_plain(), state.network)
        if rank() == 0:
            save_checkpoint(writer.folder / files.CHECKPOINTS, state.step, plain | {RECORD: writer.extent()})

    try:
        train(state, task.batches, config.train, measure, save, poll)
        save()  # what follows can be interrupted too
        seconds = time.monotonic() - started
        measures, is_correct = final_measures(state, task, config, accuracy, poll)
        summary = {
            "status": DIVERGED if state.first_bad_step is not None else STOPPED_AT_CHANCE if is_at_chance else FINISHED,
            "steps": state.step,
            "first_bad_step": state.first_bad_step,
            "num_parameters": sum(p.numel() for p in state.network.parameters()),
            **measures,
            "seconds": round(seconds, 1),
            "steps_per_second": round((state.step - start_step) / seconds, 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        if rank() == 0:
            save_weights(state.network, writer.folder / files.WEIGHTS)
        if is_correct is not None:
            writer.keep_correct(is_correct)
        writer.finish(summary)
    finally:
        mirror.finish(summary)
    return summary


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


def save_weights(network: nn.Module, path: Path) -> None:
    """Export the state_dict, with population statistics, as safetensors."""
    from safetensors.torch import save

    files.write_atomically(path, save({name: t.contiguous() for name, t in network.state_dict().items()}))
