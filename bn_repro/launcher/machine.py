"""What this machine lacks for a run, found without torch: a device, threads, memory, folders, images."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bn_repro.checks.architecture import largest_weight
from bn_repro.checks.arguments import JOBS_A_CORE
from bn_repro.checks.examples import EXAMPLES
from bn_repro.checks.values import check_folder
from bn_repro.config import Config, RunConfig
from bn_repro.data.fetch import TRAINING_FOLDER, check_image_folder
from bn_repro.launcher.grids import needed_run
from bn_repro.records.record import Run

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvmap")  # of NVIDIA and AMD, in the Windows subsystem, on Jetson
BYTES_A_WEIGHT = 4 * 3  # the weight, its gradient, and its momentum
MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def refuse_what_is_missing(config: RunConfig) -> None:
    """Refuse a run that cannot be done here.

    Raises:
        ValueError: one line.
    """
    refuse_device(config.device)
    most = JOBS_A_CORE * (os.cpu_count() or 1)
    if config.threads > most:
        raise ValueError(f"threads={config.threads} is too many for {os.cpu_count()} cores; give at most {most}")
    check_folder("results_folder", config.results_folder)
    if config.wandb.mode != "disabled":
        check_folder("wandb.folder", config.wandb.folder)
    refuse_missing_extra(config)
    refuse_sources(config)
    for refuse in OF_KIND[config.kind]:
        refuse(config)


def refuse_missing_extra(config: RunConfig) -> None:
    if config.extra and importlib.util.find_spec(config.extra[0]) is None:
        raise ValueError(f"kind={config.kind} needs the extra {config.extra[1]}; pip install 'bn_repro[{config.extra[1]}]' brings it")


def refuse_sources(config: RunConfig) -> None:
    """Refuse folders of data that cannot be, and those of images that are not there."""
    for name, folder in config.sources:
        check_folder("data.folder", folder, is_written=False)
        if name == "image_folder":
            assert isinstance(config, Config)
            refuse_image_folder(Path(folder), config.data.num_classes)


def refuse_training(config: Config) -> None:
    """Refuse a training of which the compiler, an encoder or memory is missing."""
    if config.train.is_compiled and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise ValueError("train.is_compiled=true needs a C++ compiler, and this machine has none")
    encoder = needed_run(config)
    if encoder and not Run(Path(config.results_folder) / encoder).has_summary:
        experiment = encoder.rpartition("/")[0]
        raise ValueError(f"network.encoder={encoder} is no complete run in {config.results_folder}; do experiment={experiment} first")
    if config.data.name != "image_folder" and config.device == "cpu":
        needed = BYTES_A_WEIGHT * largest_weight(config, EXAMPLES[config.data.name].shape)
        if needed > memory():
            sizes = {name: getattr(config.network, name, 0) for name in ("width", "hidden", "embedding", "head_width")}
            name = max(sizes, key=lambda name: sizes[name])
            limits = f"{needed / 1e9:_.0f} GB of memory for one matrix of weights, and there are {memory() / 1e9:.0f}"
            raise ValueError(f"network.{name}={sizes[name]} needs {limits}")


OF_KIND: dict[str, tuple[Callable[[Any], None], ...]] = {
    "supervised": (refuse_training,), "bag_of_words": (refuse_training,), "evolution": ()
}  # fmt: skip


@cache
def refuse_device(name: str) -> None:
    """Refuse a device that is certainly not here; torch alone knows whether one can be used."""
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    is_missing = is_hidden or "+cpu" in version("torch") or not any(map(os.path.exists, DRIVERS))
    if name.startswith("cuda") and is_missing:
        raise ValueError(f"device={name}: this machine has no such device; cpu is always there")


@cache
def refuse_image_folder(folder: Path, num_classes: int) -> None:
    try:
        check_image_folder(folder)
    except OSError as error:
        raise ValueError(str(error)) from error
    found = sum(path.is_dir() for path in (folder / TRAINING_FOLDER).iterdir())
    if found != num_classes:
        raise ValueError(f"data.num_classes={num_classes}, but {folder / TRAINING_FOLDER} has {found} classes")


@cache
def memory() -> int:
    """Return the bytes of memory that this process may use."""
    limits = [Path(name).read_text().strip() for name in MEMORY_LIMITS if os.path.exists(name)]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *(int(limit) for limit in limits if limit.isdigit())])


def refuse_launcher(launcher: Sequence[str]) -> None:
    """Refuse a cluster's launcher on a machine that is not of one."""
    if any("slurm" in override for override in launcher) and not shutil.which("srun"):
        raise ValueError(f"{launcher[0]}: this machine has no srun, so that it is not one of a SLURM cluster")
