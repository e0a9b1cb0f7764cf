"""Does W&B hold what the record holds, and does a run go on when W&B does not?"""

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from composed import smoke

from bn_repro.experiments import supervised, tracking
from bn_repro.experiments.tracking import Mirror, as_wandb_row, as_wandb_summary, export, wandb_id
from bn_repro.launcher.grids import CONFIGS
from bn_repro.records import files
from bn_repro.records.record import Run, run_folder
from bn_repro.training.loop import Interrupted

pytestmark = pytest.mark.usefixtures("restored_torch_settings")
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


@pytest.fixture(scope="module")
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


def test_exporter_rebuilds_one_clean_run(finished, tmp_path):
    config, run, _ = finished
    export(run, offline(tmp_path), dataclasses.asdict(config))
    (rebuilt,) = read_back(tmp_path)
    assert rebuilt["run"][0]["run_id"] == wandb_id(run.address) and rebuilt["exit"][-1].get("exit_code", 0) == 0
    assert_mirrors(rebuilt["history"], run)
    summary = {name: value for update in rebuilt["summary"] for name, value in update["update"].items()}
    assert summary["final/status"] == "finished" and summary["final/diverged"] is False and "final/first_bad_step" not in summary
    for measure in ("accuracy", "accuracy_moving_averages", "steps", "folding_error", "num_batch_norms"):
        assert summary[f"final/{measure}"] == run.summary[measure]
    assert summary["final/scale_invariance/output"] == run.summary["scale_invariance"]["output"]


def test_a_run_and_its_export_are_the_same(tmp_path):
    """The whole W&B run, of a training that was not interrupted: rows, summary, config and metrics."""
    small = dataclasses.replace(smoke().train, steps=4, eval_every=2, checkpoint_every=2)
    config = dataclasses.replace(smoke(), name="batch-s0", results_folder=str(tmp_path / "runs"), wandb=offline(tmp_path / "live"))
    config = dataclasses.replace(config, train=small, probe=dataclasses.replace(config.probe, every=2))
    supervised.run(config)
    run = Run(run_folder(config))
    assert export(run, offline(tmp_path / "rebuilt"), yaml.safe_load((run.folder / files.CONFIG).read_text()))
    ((live,), (rebuilt,)) = (read_back(tmp_path / name) for name in ("live", "rebuilt"))
    for kind in ("history", "metric"):
        assert [without_clock(record) for record in live[kind]] == [without_clock(record) for record in rebuilt[kind]]
    ((live_run,), (rebuilt_run,)) = live["run"], rebuilt["run"]
    configs = [
        {name: value for name, value in described["config"]["update"].items() if name != "_wandb"} for described in (live_run, rebuilt_run)
    ]
    assert configs[0] == configs[1] and live_run["run_id"] == rebuilt_run["run_id"]
    final = [
        {name: value for update in fragment["summary"] for name, value in update["update"].items() if name.startswith("final/")}
        for fragment in (live, rebuilt)
    ]
    assert final[0] == final[1] and final[0]["final/steps"] == 4


def without_clock(record):
    if "item" not in record:
        return record
    return {name: value for name, value in record["item"].items() if not name.startswith("_")}


def failing(*args, **kwargs):
    raise OSError("the server is away\nand this is why")


def test_a_failing_start_does_not_stop_a_run(tmp_path, monkeypatch, capsys):
    import wandb

    monkeypatch.setattr(wandb, "init", failing)
    config = smoke()
    config = dataclasses.replace(
        config, results_folder=str(tmp_path), wandb=offline(tmp_path), train=dataclasses.replace(config.train, steps=2)
    )
    assert supervised.run(config)["status"] == "finished"
    (warning,) = capsys.readouterr().err.splitlines()
    assert "W&B failed" in warning and "the server is away" in warning and "goes on" in warning


def test_an_unreachable_server_is_replaced_by_the_disk(tmp_path, monkeypatch, capsys):
    modes = []

    def start(settings, mode, address, config):
        modes.append(mode)
        return failing() if mode == "online" else Recorder()

    monkeypatch.setattr(tracking, "start_wandb", start)
    mirror = Mirror(dataclasses.replace(offline(tmp_path), mode="online"), ADDRESS, {})
    mirror.log({"step": 0, "loss": 1.0})
    assert modes == ["online", "offline"] and mirror.run.logged == [{"step": 0, "eval/loss": 1.0}]
    assert "wandb sync" in capsys.readouterr().err


class Recorder:
    """Stand for a W&B run; fail in one method."""

    def __init__(self, failing_method=None):
        self.logged, self.summary, self.exit_codes = [], {}, []
        if failing_method:
            setattr(self, failing_method, failing)

    def log(self, row):
        self.logged.append(row)

    def finish(self, exit_code):
        self.exit_codes.append(exit_code)


@pytest.mark.parametrize("failing_method", ["log", "finish"])
def test_a_failure_on_the_way_is_told_once(tmp_path, monkeypatch, capsys, failing_method):
    monkeypatch.setattr(tracking, "start_wandb", lambda *_: Recorder(failing_method))
    mirror = Mirror(offline(tmp_path), ADDRESS, {})
    for step in range(3):
        mirror.log({"step": step})
    mirror.finish({"accuracy": 0.5})
    mirror.finish({"accuracy": 0.5})
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_end_is_told(tmp_path, monkeypatch):
    for summary, exit_code in (({"accuracy": 0.5}, 0), (None, 1)):
        recorder = Recorder()
        monkeypatch.setattr(tracking, "start_wandb", lambda *_, recorder=recorder: recorder)
        Mirror(offline(tmp_path), ADDRESS, {}).finish(summary)
        assert recorder.exit_codes == [exit_code]
        assert recorder.summary == ({"final/accuracy": 0.5, "final/diverged": False} if summary else {})


def test_disabled_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "start_wandb", failing)
    mirror = Mirror(dataclasses.replace(offline(tmp_path), mode="disabled"), ADDRESS, {})
    mirror.log({"step": 0})
    mirror.finish({})


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
    assert len(wandb_id("x" * 300)) == 128


@pytest.fixture
def dead_server(monkeypatch):
    """A login at a server that does not answer, and little patience."""
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(tracking, "SECONDS_TO_CONNECT", 1)


def test_a_dead_server_leaves_one_offline_run_and_one_line(tmp_path, dead_server, capfd):
    mirror = Mirror(dataclasses.replace(offline(tmp_path), mode="online"), ADDRESS, {})
    mirror.log({"step": 0, "loss": 1.0})
    mirror.finish({"status": "finished"})
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: W&B failed (") and line.endswith("; it goes on offline; `wandb sync` sends it later")
    assert [run["exit"][-1].get("exit_code", 0) for run in read_back(tmp_path)] == [0]
    assert not list((tmp_path / "wandb").glob("run-*"))


def test_an_export_to_a_dead_server_is_none(finished, tmp_path, dead_server, capfd):
    config, run, _ = finished
    online = dataclasses.replace(offline(tmp_path), mode="online")
    assert not export(run, online, dataclasses.asdict(config))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("; it was not exported") and not list((tmp_path / "wandb").glob("*run-*"))


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_bad_address_is_told_once_and_as_it_is(tmp_path, monkeypatch, capfd, mode):
    monkeypatch.setenv("WANDB_BASE_URL", "nonsense")
    mirror = Mirror(dataclasses.replace(offline(tmp_path), mode=mode), ADDRESS, {})
    (line,) = capfd.readouterr().err.splitlines()
    assert mirror.run is None and "base_url: Input should be a valid URL" in line and line.endswith("; the run goes on without it")


@pytest.mark.parametrize("home", [None, "/proc/1"])
def test_without_a_home_the_cache_is_kept_with_the_runs(tmp_path, monkeypatch, capfd, home):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
    mirror = Mirror(offline(tmp_path), ADDRESS, {})
    mirror.log({"step": 0, "loss": 1.0})
    mirror.finish({"status": "finished"})
    assert capfd.readouterr() == ("", "") and (os.environ.get("HOME"), os.environ.get("XDG_CACHE_HOME")) == (home, None)
    assert (tmp_path / "cache").is_dir() and len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


def test_damaged_runs_are_not_exported_and_the_others_are(finished, tmp_path, monkeypatch, capsys):
    _, run, _ = finished
    folders = [tmp_path / name / ADDRESS for name in ("whole", "damaged", "config_alone", "nothing")]
    for folder in folders[:3]:
        shutil.copytree(run.folder, folder)
    (folders[1] / files.METRICS).write_bytes(b"")
    for path in folders[2].iterdir():
        path.unlink() if path.name != files.CONFIG else None
    exported = []
    specification = importlib.util.spec_from_file_location("export_wandb", CONFIGS.parent / "scripts" / "export_wandb.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    monkeypatch.setattr(tracking, "start_wandb", lambda *_: exported.append(Recorder()) or exported[-1])
    assert script.export_all(folders[::-1], offline(tmp_path)) == 2
    said, complaints = capsys.readouterr()
    assert said == f"exported {folders[0]}\n" and len(exported) == 1 and len(exported[0].logged) == 5
    assert complaints.splitlines() == [
        f"error: {folders[3]} holds no run",
        f"error: {folders[2] / files.METRICS} is missing; the run has to be done again",
        f"error: {folders[1] / files.METRICS} is damaged (its content is not what summary.json knows); delete it or the folder",
    ]
