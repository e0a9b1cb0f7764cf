"""What a run is, whatever its kind: locked, recorded, mirrored, interrupted and resumed in one way."""

import dataclasses
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from bn_repro.checks.runs import check
from bn_repro.config import RunConfig
from bn_repro.experiments.environment import available_device
from bn_repro.experiments.resuming import finished_summary, forget_unfounded_summary, resume_or_begin
from bn_repro.experiments.tracking import Mirror
from bn_repro.records import files
from bn_repro.records.extent import RECORD
from bn_repro.records.record import Run, run_folder
from bn_repro.records.writing import RunWriter, SilentWriter
from bn_repro.training.checkpoint import save_checkpoint
from bn_repro.training.distributed import from_first_rank, is_on_any_rank, join_ranks, rank
from bn_repro.training.loop import Interrupted

Report = Callable[[int, int, float | None], None]
Poll = Callable[[], None]
KeepRow = Callable[[dict[str, Any], dict[str, np.ndarray] | None], None]


class Work(Protocol):
    """What differs between kinds of runs: the state, its steps, and what is measured.

    Args:
        latest: the newest of what the run is to make large; None before the first row.
        status: how the run ended, once it has.
        max_bytes: more than a checkpoint of the state can have.
    """

    latest: float | None
    max_bytes: int

    @property
    def step(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def first_bad_step(self) -> int | None: ...

    def as_plain(self) -> dict[str, Any]:
        """Return the state as tensors and plain values, for a checkpoint; all ranks call it."""

    def check_fits(self, path: Path, plain: Any) -> None:
        """Compare what a checkpoint holds with this state.

        Raises:
            Damaged: it is of another kind, or has other names or shapes.
        """

    def restore(self, plain: dict[str, Any]) -> None: ...

    def conditions(self) -> dict[str, Any]:
        """Say what the record shall hold of how the run is done, beside its config."""

    def go(self, keep_row: KeepRow, save: Poll, poll: Poll) -> None:
        """Make all steps that are left, and keep a row of metrics and arrays before those that have one."""

    def final(self, poll: Poll) -> tuple[dict[str, Any], np.ndarray | None]:
        """Measure what came out, for the summary, and which examples it is right on, where there are such."""

    def weights(self) -> dict[str, Tensor]: ...


def carry_out(config: RunConfig, build: Callable[[Any], Work], report: Report, is_stopping: Callable[[], bool]) -> dict[str, Any]:
    """Do one run, or go on with it, or return the summary of the complete one.

    Under torchrun all processes do the run together, and the first writes its record.

    Args:
        build: makes the work at its first step.
        report: called often with (step, number of steps, latest measure).
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
        started = time.monotonic()
        work = build(config)
        resume_or_begin(work, config, writer)
        return do_and_record(work, config, writer, report, is_stopping, started)
    finally:
        writer.close()


def do_and_record(
    work: Work, config: RunConfig, writer: RunWriter | SilentWriter, report: Report, is_stopping: Callable[[], bool], started: float
) -> dict[str, Any]:
    """Make the steps that are left, keep every row and checkpoint, and write the summary, whose seconds count from `started`."""
    mirrored = config.wandb if rank() == 0 else dataclasses.replace(config.wandb, mode="disabled")
    mirror = Mirror(mirrored, Run(writer.folder).address, dataclasses.asdict(config))
    first_step_at, start_step, summary = time.monotonic(), work.step, None

    def poll() -> None:
        report(work.step, config.train.steps, work.latest)
        if is_on_any_rank(is_stopping()):
            raise Interrupted

    def keep_row(row: dict[str, Any], arrays: dict[str, np.ndarray] | None) -> None:
        if arrays is not None:
            writer.append_activations(row["step"], arrays)
        writer.append(row)
        mirror.log(row, arrays)

    def save() -> None:
        writer.sync()
        plain = work.as_plain()
        if isinstance(writer, RunWriter):
            save_checkpoint(writer.folder / files.CHECKPOINTS, work.step, plain | {RECORD: writer.extent()})

    try:
        work.go(keep_row, save, poll)
        save()  # what follows can be interrupted too
        stepping = time.monotonic() - first_step_at
        measures, is_correct = work.final(poll)
        summary = {
            "status": work.status,
            "steps": work.step,
            "first_bad_step": work.first_bad_step,
            **measures,
            "seconds": round(time.monotonic() - started, 1),  # built, trained and measured
            "steps_per_second": round((work.step - start_step) / stepping, 3),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        if rank() == 0:
            save_weights(work.weights(), writer.folder / files.WEIGHTS)
        if is_correct is not None:
            writer.keep_correct(is_correct)
        writer.finish(summary)
    finally:
        mirror.finish(summary)
    return summary


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Export weights, with population statistics, as safetensors."""
    from safetensors.torch import save

    files.write_atomically(path, save({name: t.contiguous() for name, t in weights.items()}))
