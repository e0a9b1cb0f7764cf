"""Does W&B hold what the record holds, and does a run go on when W&B does not?"""

import re

import numpy as np
import pytest
from mirrored import ADDRESS, assert_mirrors, offline, read_back

from bn_repro.experiments.tracking import Mirror
from bn_repro.experiments.wandb_names import as_wandb_row, as_wandb_summary, wandb_id

pytestmark = pytest.mark.usefixtures("restored_torch_settings")


def test_fragments_of_an_interrupted_run(finished):
    """Two W&B runs of one id; together they hold every row of the record, the rows before the interruption twice at most."""
    config, run, folder = finished
    fragments = read_back(folder)
    assert len(fragments) == 2
    for fragment in fragments:
        (described,) = fragment["run"]
        assert described["project"] == "bn-repro" and described["run_group"] == "mnist_sigmoid" and described["job_type"] == "train"
        assert described["display_name"] == "batch-s0" and described["run_id"] == wandb_id(ADDRESS) and described["tags"] == ["smoke"]
        logged_config = described["config"]["update"]
        assert logged_config["train"]["lr"] == 0.5 and logged_config["network"]["norm"] == "batch"
        assert {metric.get("name"): metric for metric in fragment["metric"]}["step"]["options"]["hidden"]
        assert {metric.get("glob_name"): metric.get("step_metric") for metric in fragment["metric"]}["*"] == "step"
        kept = {metric["name"]: metric for metric in fragment["metric"] if "summary" in metric}
        assert kept["eval/accuracy"]["summary"] == {"max": True, "last": True} and kept["eval/accuracy"]["step_metric"] == "step"
        assert kept["eval/loss"]["summary"] == kept["train/loss"]["summary"] == {"min": True, "last": True}
    assert [fragment["exit"][-1].get("exit_code", 0) for fragment in fragments] == [1, 0]
    by_step = {logged["item"]["step"]: logged for fragment in fragments for logged in fragment["history"]}
    in_order = [by_step[step] | {"step": {"num": number}} for number, step in enumerate(sorted(by_step))]
    assert_mirrors(in_order, run)


def test_row_of_one_site():
    arrays = {
        "a/b/percentiles": np.array([1.0, 2.5], np.float32), "a/b/unit_percentiles": np.zeros((3, 2)),
        "a/b/mean": np.float32(0.25),
        "a/b/std": np.float32(2), "a/b/saturated": np.float32(0.5),
        "a/b/histogram": np.array([3, 0, 1, 4]), "a/b/range": np.array([-1.0, 1.0]),
    }  # fmt: skip
    logged = as_wandb_row({"step": 3, "loss": 0.5, "train_loss": None}, arrays, {"probe": {"percentiles": [15.0, 97.5]}})
    histogram = logged.pop("histograms/a/b")
    assert logged == {
        "step": 3,
        "eval/loss": 0.5,
        "percentiles/a/b/p15": 1,
        "percentiles/a/b/p97.5": 2.5,
        "mean/a/b": 0.25,
        "std/a/b": 2,
        "saturated/a/b": 0.5,
    }
    assert list(histogram.histogram) == [3, 0, 1, 4] and list(histogram.bins) == [-1, -0.5, 0, 0.5, 1]


def test_metrics_of_later_measures_pass_through():
    """A name with a slash keeps its section, one without belongs to training; what is no finite number is left out."""
    row = {
        "step": 1, "gradient_shift/hidden.0/cosine": 0.5, "landscape/beta_smoothness": np.float32(2), "lr": 0.25, "is_warm": True,
        "bias_norm": float("nan"), "loss": float("inf"), "comment": "none", "nested": {"a": 1},
    }  # fmt: skip
    assert as_wandb_row(row, {}, {}) == {
        "step": 1, "gradient_shift/hidden.0/cosine": 0.5, "landscape/beta_smoothness": 2, "train/lr": 0.25, "train/is_warm": True,
    }  # fmt: skip


def test_the_summary_says_whether_a_run_diverged():
    summary = {"status": "diverged", "first_bad_step": 7, "folding_error": float("nan"), "accuracy": None}
    assert as_wandb_summary(summary) == {"final/status": "diverged", "final/first_bad_step": 7, "final/diverged": True}


def test_ids_have_letters_that_wandb_allows():
    assert wandb_id("mnist_sigmoid/quick/batch-s0,train.lr=0.5") == "mnist_sigmoid-quick-batch-s0-train.lr-0.5"
    for address in ("x" * 300, "a/b/c\u00e9,\\d+", "a" * 128):
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", wandb_id(address))


def test_two_addresses_have_two_ids():
    """Also those that are long and alike at the beginning or the end, or that differ in letters that W&B does not allow."""
    long = ",".join(f"train.knob_{number}={number}" for number in range(20))
    addresses = [f"experiment/quick/{arm}-s{seed},{long}" for arm in ("none", "batch") for seed in range(3)]
    addresses += [f"experiment/quick/batch-s0,{long}{end}" for end in (",z=1", ",z=2")]
    addresses += [
        f"experiment/quick/batch-s0,train.trainable={pattern}" for pattern in ("a*b", "a+b", "a.b", "a-b", "a\u00e9b", "a\u00e8b")
    ]
    assert len({wandb_id(address) for address in addresses}) == len(addresses)


def test_a_users_own_ablations_are_marked_apart(tmp_path):
    """Group and tag of a name that says more than arm and seed are their own, and all names are as short as W&B allows."""
    for address in (ADDRESS, f"{ADDRESS},train.lr=0.25", f"{ADDRESS},{'x' * 150}=1"):
        Mirror(offline(tmp_path), address, {}).finish(None)
    runs = sorted((fragment["run"][0] for fragment in read_back(tmp_path)), key=lambda run: len(run["display_name"]))
    assert [(run["run_group"], run["tags"]) for run in runs] == [
        ("mnist_sigmoid", ["smoke"]), ("mnist_sigmoid (own)", ["smoke (own)"]), ("mnist_sigmoid (own)", ["smoke (own)"]),
    ]  # fmt: skip
    assert [run["display_name"] for run in runs[:2]] == ["batch-s0", "batch-s0,train.lr=0.25"] and len(runs[2]["display_name"]) == 128
