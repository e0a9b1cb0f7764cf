"""Where a run goes on: not at all if it is finished, from the newest checkpoint that its record agrees with, or from the start."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Protocol

import torch

from bn_repro.config import RunConfig, differences
from bn_repro.experiments.environment import environment
from bn_repro.records import files
from bn_repro.records.damage import Damaged
from bn_repro.records.extent import RECORD
from bn_repro.records.record import Run, finished_run, run_folder
from bn_repro.records.soundness import check_config
from bn_repro.records.writing import RunWriter, SilentWriter
from bn_repro.training.checkpoint import load_latest_checkpoint
from bn_repro.training.distributed import from_first_rank


def finished_summary(config: RunConfig) -> dict[str, Any] | None:
    """Return the summary of the run, if it is finished and its files are all there.

    Raises:
        ValueError: its folder holds a run of another config, or (`Damaged`) a file that is not what was written.
    """
    recorded = Run(run_folder(config))
    different = differences(config, check_config(recorded.folder / files.CONFIG)) if recorded.config else []
    if different:
        raise ValueError(
            f"{recorded.folder} holds a run of another config ({'; '.join(different)}); delete it, or give another results_folder"
        )
    finished = finished_run(config)
    return finished.summary if finished else None


def forget_unfounded_summary(config: RunConfig) -> None:
    """Drop the summary of a run whose rows or other files are gone, which is then done again."""
    recorded = Run(run_folder(config))
    if recorded.has_summary:
        print(f"warning: {recorded.damage}; starting again", file=sys.stderr)
        files.delete(recorded.folder / files.SUMMARY)


class Resumable(Protocol):
    """What is known here of a run's work; see `run.Work`."""

    max_bytes: int

    @property
    def step(self) -> int: ...
    def check_fits(self, path: Path, plain: Any) -> None: ...
    def restore(self, plain: dict[str, Any]) -> None: ...
    def conditions(self) -> dict[str, Any]: ...


def resume_or_begin(work: Resumable, config: RunConfig, writer: RunWriter | SilentWriter) -> None:
    """Go on from the newest whole checkpoint that the record agrees with, or start the record; rows that come again are forgotten.

    Rank 0 reads the checkpoint for all, so that none goes on from another.
    """

    def check_with_record(path: Path, plain: Any) -> Damaged | None:
        assert isinstance(writer, RunWriter)  # of the first rank, which alone reads checkpoints
        work.check_fits(path, plain)
        return writer.disagreement(plain.get(RECORD), plain["step"])

    folder, cpu = writer.folder / files.CHECKPOINTS, torch.device("cpu")  # a tensor of a GPU would reach the other ranks on that GPU
    checkpoint = from_first_rank(lambda: load_latest_checkpoint(folder, cpu, work.max_bytes, check_with_record))
    machine = environment(torch.device(config.device)) | work.conditions()
    if checkpoint:
        work.restore(checkpoint)
        writer.go_on(machine)
        writer.rewind(work.step, checkpoint.get(RECORD))
    else:
        writer.begin(dataclasses.asdict(config), machine)
        writer.rewind(0)
