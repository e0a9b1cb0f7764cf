"""A run that was interrupted and resumed while it was mirrored to W&B."""

import dataclasses

import pytest
from composed import smoke
from mirrored import offline

from bn_repro.experiments import supervised
from bn_repro.records.record import Run, run_folder
from bn_repro.training.loop import Interrupted


@pytest.fixture(scope="package")
def finished(tmp_path_factory):
    """Return the record of an interrupted and resumed run, and the folder of the W&B fragments it left."""
    folder = tmp_path_factory.mktemp("tracked")
    config = smoke()
    small = dataclasses.replace(config.train, steps=20, eval_every=5, checkpoint_every=10)
    config = dataclasses.replace(config, name="batch-s0", results_folder=str(folder / "runs"), wandb=offline(folder), train=small)
    config = dataclasses.replace(config, probe=dataclasses.replace(config.probe, every=10))
    with pytest.raises(Interrupted):
        supervised.run(config, is_stopping=lambda: (run_folder(config) / "metrics.jsonl").read_bytes().count(b"\n") >= 3)
    supervised.run(config)
    return config, Run(run_folder(config)), folder
