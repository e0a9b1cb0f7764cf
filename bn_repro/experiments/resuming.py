"""Where a run goes on: not at all if it is finished, from the newest checkpoint that its record agrees with, or from the start."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch

from bn_repro.config import Config, differences
from bn_repro.experiments.environment import environment
from bn_repro.records import files
from bn_repro.records.damage import Damaged
from bn_repro.records.extent import RECORD
from bn_repro.records.record import Run, finished_run, run_folder
from bn_repro.records.soundness import check_config
from bn_repro.records.writing import RunWriter, SilentWriter
from bn_repro.training.checkpoint import check_fits, load_latest_checkpoint, max_bytes_of
from bn_repro.training.distributed import from_first_rank, num_ranks, own_part, part_of_batch
from bn_repro.training.loop import TrainState


def finished_summary(config: Config) -> dict[str, Any] | None:
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


def forget_unfounded_summary(config: Config) -> None:
    """Drop the summary of a run whose rows or other files are gone, which is then done again."""
    recorded = Run(run_folder(config))
    if recorded.has_summary:
        print(f"warning: {recorded.damage}; starting again", file=sys.stderr)
        files.delete(recorded.folder / files.SUMMARY)


def resume_or_begin(state: TrainState, config: Config, writer: RunWriter | SilentWriter) -> None:
    """Go on from the newest whole checkpoint that the record agrees with, or start the record; rows that come again are forgotten.

    Rank 0 reads the checkpoint for all, so that none goes on from another.
    """

    def check_with_record(path: Path, plain: Any) -> Damaged | None:
        check_fits(path, plain, state.network, state.optimizer)
        return writer.disagreement(plain.get(RECORD), plain["step"])

    folder, cpu = writer.folder / files.CHECKPOINTS, torch.device("cpu")  # a tensor of a GPU would reach the other ranks on that GPU
    checkpoint = from_first_rank(lambda: load_latest_checkpoint(folder, cpu, max_bytes_of(state.network), check_with_record))
    machine = environment(torch.device(config.device)) | ranks_of(config)
    if checkpoint:
        state.restore(own_part(checkpoint))
        writer.go_on(machine)
        writer.rewind(state.step, checkpoint.get(RECORD))
    else:
        writer.begin(dataclasses.asdict(config), machine)
        writer.rewind(0)


def ranks_of(config: Config) -> dict[str, int]:
    """Say which examples of a step a batch norm sees."""
    part = part_of_batch(config.train.batch_size)
    return {"num_ranks": num_ranks(), "batch_per_rank": part, "batch_of_a_norm": part * (num_ranks() if config.train.sync_bn else 1)}
