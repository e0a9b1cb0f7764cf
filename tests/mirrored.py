"""What W&B holds of a run, read back as its own program reads it, and what stands for W&B where it fails."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from composed import smoke

ADDRESS = "mnist_sigmoid/smoke/batch-s0"
NAMES = {
    "step": "step", "accuracy": "eval/accuracy", "loss": "eval/loss", "train_loss": "train/loss", "bias_norm": "train/bias_norm",
    "probe_loss": "probe/loss",
}  # fmt: skip


def offline(folder):
    return dataclasses.replace(smoke().wandb, mode="offline", folder=str(folder))


def read_back(folder):
    """Return the records of each offline run under a folder, by type, as W&B's own program reads them."""
    runs = []
    for path in sorted((folder / "wandb").glob("offline-run-*")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
        said = subprocess.run(command, cwd=folder, env=os.environ | {"WANDB_DIR": str(folder)}, capture_output=True, text=True, check=True)
        records = [json.loads(line) for line in said.stdout.splitlines()]
        runs.append(
            {
                kind: [record[kind] for record in records if record["type"] == kind]
                for kind in ("run", "metric", "history", "summary", "exit")
            }
        )
    return runs


def assert_mirrors(history, run):
    """Compare one logged row after the other with the record: metrics, percentiles, moments, histograms."""
    at_step = {int(step): row for row, step in enumerate(run.activations["step"])}
    assert [logged["item"]["step"] for logged in history] == [row["step"] for row in run.metrics]
    assert [logged["step"]["num"] for logged in history] == list(range(len(history)))  # one log a row
    for logged, row in zip(history, run.metrics):
        item = {name: value for name, value in logged["item"].items() if not name.startswith("_")}
        expected = {NAMES[name]: value for name, value in row.items() if value is not None}
        if row["step"] in at_step:
            for name, stacked in run.activations.items():
                site, _, measure = name.rpartition("/")
                values = stacked[at_step[row["step"]]]
                if measure == "percentiles":
                    expected |= {f"percentiles/{site}/p{percentile}": value for percentile, value in zip((15, 50, 85), values.tolist())}
                elif measure in ("mean", "std", "saturated"):
                    expected[f"{measure}/{site}"] = values.item()
                elif measure == "histogram":
                    low, high = run.activations[f"{site}/range"][0]
                    expected |= {
                        f"histograms/{site}._type": "histogram",
                        f"histograms/{site}.values": values.tolist(),
                        f"histograms/{site}.bins": pytest.approx(np.linspace(low, high, len(values) + 1).tolist()),
                    }
        assert item == expected


def failing(*args, **kwargs):
    raise OSError("the server is away\nand this is why")


class Recorder:
    """Stand for a W&B run; fail in one method."""

    def __init__(self, failing_method=None):
        self.logged, self.summary, self.exit_codes, self.dir = [], {}, [], "files"
        if failing_method:
            setattr(self, failing_method, failing)

    def log(self, row):
        self.logged.append(row)

    def finish(self, exit_code):
        self.exit_codes.append(exit_code)
