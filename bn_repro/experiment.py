"""What one run is: data, network, training, probes, record and W&B, joined from one config."""

import dataclasses
import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bn_repro.config import Config, check, differences
from bn_repro.data.images import NUM_CLASSES, Batches, Images, load_images
from bn_repro.networks import build_network
from bn_repro.norms import batch_norms, estimate_population_statistics
from bn_repro.probes import ActivationProbe, folding_error, scale_invariance_errors, sites_around
from bn_repro.records import files
from bn_repro.records.record import DIVERGED, FINISHED, Run, RunWriter, run_folder
from bn_repro.tracking import Mirror
from bn_repro.training.checkpoint import load_latest_checkpoint, save_checkpoint
from bn_repro.training.loop import Interrupted, TrainState, evaluate, train

PACKAGES = ("torch", "numpy", "hydra-core", "timm", "wandb")
IDENTITY_SCALE = 10.0  # the factor a of section 3.3
Report = Callable[[int, int, float | None], None]


def run(config: Config, report: Report = lambda *_: None, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Do one run, or go on with it, or return the summary of the complete one.

    Args:
        report: called often with (step, number of steps, latest accuracy).
        is_stopping: when it says True, the run saves its state and raises `Interrupted`.

    Raises:
        ValueError: the config cannot be meant, or the folder holds a run of another config.
        RunBusy: another process is at it.
        Interrupted: `is_stopping` said so; the same call goes on.
    """
    check(config)
    folder = run_folder(config)
    recorded = Run(folder)
    different = differences(config, recorded.config) if recorded.config else []
    if different:
        raise ValueError(f"{folder} holds a run of another config ({'; '.join(different)}); delete it, or give another results_folder")
    if recorded.is_complete:
        return recorded.summary
    writer = RunWriter(folder)
    try:
        return _train_and_measure(config, writer, report, is_stopping)
    finally:
        writer.close()


def _train_and_measure(config: Config, writer: RunWriter, report: Report, is_stopping: Callable[[], bool]) -> dict[str, Any]:
    state, batches, images = build(config)
    watched = images.first(config.data.evaluate_size)
    resume_or_begin(state, config, writer)
    probe_x, probe_y = images.between(0, config.probe.batch_size)
    probe = ActivationProbe(
        state.network, sites_around(state.network), config.probe.percentiles, config.probe.num_units, config.probe.histogram_bins
    )
    mirror = Mirror(config.wandb, Run(writer.folder).address, dataclasses.asdict(config))
    started, start_step, accuracy, summary = time.monotonic(), state.step, None, None

    def poll() -> None:
        report(state.step, config.train.steps, accuracy)
        if is_stopping():
            raise Interrupted

    def measure(step: int, train_loss: float | None) -> None:
        nonlocal accuracy
        accuracy, loss = evaluate(state.network, watched, poll, config.data.evaluate_batch)
        row = {"step": step, "train_loss": train_loss, "accuracy": accuracy, "loss": loss, "bias_norm": bias_norm(state.network)}
        arrays = None
        if config.probe.every and (step % config.probe.every == 0 or step == config.train.steps):
            logits, arrays = probe(probe_x)
            row["probe_loss"] = nn.functional.cross_entropy(logits, probe_y).item()
            writer.append_activations(step, arrays)
        writer.append(row)
        mirror.log(row, arrays)

    def save() -> None:
        writer.sync()
        save_checkpoint(writer.folder / files.CHECKPOINTS, state.step, state.as_plain())

    try:
        train(state, batches, config.train, measure, save, poll)
        save()  # what follows can be interrupted too
        seconds = time.monotonic() - started
        summary = {
            "status": FINISHED if state.first_bad_step is None else DIVERGED,
            "steps": state.step,
            "first_bad_step": state.first_bad_step,
            "num_parameters": sum(p.numel() for p in state.network.parameters()),
            **final_measures(state, batches, images, config, accuracy, poll),
            "seconds": round(seconds, 1),
            "steps_per_second": round((state.step - start_step) / seconds, 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        save_weights(state.network, writer.folder / files.WEIGHTS)
        writer.finish(summary)
    finally:
        mirror.finish(summary)
    return summary


def build(config: Config) -> tuple[TrainState, Batches, Images]:
    """Build the untrained state, the training batches and the images that accuracy is measured on."""
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)  # sigmoid networks without BN make denormals, which are slow on a CPU
    torch.manual_seed(config.seed)
    device = available_device(config.device)
    training_images, images = load_images(config.data, device)
    batches = Batches(training_images, config.train.batch_size, config.seed, config.data.crop_padding, config.data.has_flips)
    network = build_network(config.network, training_images.shape, NUM_CLASSES, config.seed).to(device)
    select_trainable(network, config.train.trainable)
    optimizer = torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad],
        lr=config.train.lr,
        momentum=config.train.momentum,
        weight_decay=config.train.weight_decay,
    )
    state = TrainState(network, optimizer)
    if config.train.is_compiled:
        state.forward = torch.compile(network, mode="reduce-overhead" if device.type == "cuda" else "default")
    return state, batches, images


def available_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        ValueError: this machine has none.
    """
    device = torch.device(name)
    is_there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}.get(device.type, lambda: True)
    if not is_there():
        raise ValueError(f"device={name}: this machine has no such device; cpu is always there")
    return device


def resume_or_begin(state: TrainState, config: Config, writer: RunWriter) -> None:
    """Go on from the newest whole checkpoint, or start the record; rows that come again are forgotten."""
    device = torch.device(config.device)
    checkpoint = load_latest_checkpoint(writer.folder / files.CHECKPOINTS, device)
    if checkpoint:
        state.restore(checkpoint)
    else:
        writer.begin(dataclasses.asdict(config), environment(device))
    writer.rewind(state.step)


def final_measures(
    state: TrainState, batches: Batches, images: Images, config: Config, accuracy: float, poll: Callable[[], None]
) -> dict[str, Any]:
    """Measure the trained network: accuracy by Algorithm 2 beside moving averages, and the paper's exact statements."""
    network = state.network
    measures = {"accuracy_moving_averages": accuracy, "accuracy": accuracy, "num_batch_norms": len(batch_norms(network))}
    if state.first_bad_step is not None:
        return measures
    if config.data.evaluate_size:
        measures["accuracy"], _ = evaluate(network, images, poll, config.data.evaluate_batch)
        measures["accuracy_moving_averages"] = measures["accuracy"]
    x, _ = images.between(0, config.probe.batch_size)
    errors = scale_invariance_errors(network, x, IDENTITY_SCALE, torch.Generator().manual_seed(config.seed))
    measures["scale_invariance"] = errors
    if batch_norms(network):
        inputs = (batches.at(config.train.steps + number)[0] for number in range(config.train.population_batches))
        estimate_population_statistics(network, inputs)
        measures["accuracy"], _ = evaluate(network, images, poll, config.data.evaluate_batch)
    measures["num_folded"], measures["folding_error"] = folding_error(network, x)
    return measures


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


def environment(device: torch.device) -> dict[str, Any]:
    """Describe versions, commit and hardware."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "commit": git("rev-parse", "HEAD"),
        "is_modified": bool(git("status", "--porcelain", "--untracked-files=no")),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "accelerator": accelerator,
    }


def git(*arguments: str) -> str | None:
    """Return what git says of the code that runs, or None outside of a repository."""
    answer = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def processor() -> str:
    if sys.platform == "linux":
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        return names[0] if names else platform.processor()
    return platform.processor()
