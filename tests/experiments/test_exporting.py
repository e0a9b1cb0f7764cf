"""Is what is exported from a record what a mirrored training leaves, once?"""

import dataclasses
import runpy
import shutil
import sys

import pytest
import yaml
from composed import smoke
from mirrored import ADDRESS, Recorder, assert_mirrors, failing, offline, read_back

from bn_repro.checks.arguments import exit_code_of
from bn_repro.experiments import supervised, tracking
from bn_repro.experiments.exporting import export, fragments_of
from bn_repro.experiments.tracking import Mirror
from bn_repro.experiments.wandb_names import wandb_id
from bn_repro.launcher.grids import CONFIGS
from bn_repro.records import files
from bn_repro.records.record import Run, run_folder

pytestmark = pytest.mark.usefixtures("restored_torch_settings")


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


def test_exporting_replaces_fragments_and_exports(finished, tmp_path):
    """Beside the two fragments of an interrupted run, and a second time; runs of other addresses stay."""
    config, run, folder = finished
    shutil.copytree(folder / "wandb", tmp_path / "wandb", symlinks=True)
    other = tmp_path / "wandb" / f"offline-run-20250101_000000-other-{wandb_id(run.address)}"
    other.mkdir()
    (other / f"run-other-{wandb_id(run.address)}.wandb").touch()
    for _ in range(2):
        assert export(run, offline(tmp_path), dataclasses.asdict(config))
        (left,) = fragments_of(run.address, tmp_path)
    assert other.exists()
    shutil.rmtree(other)
    (rebuilt,) = read_back(tmp_path)
    assert_mirrors(rebuilt["history"], run)


def test_a_failed_export_keeps_the_fragments(finished, tmp_path, monkeypatch):
    config, run, folder = finished
    shutil.copytree(folder / "wandb", tmp_path / "wandb", symlinks=True)
    monkeypatch.setattr(tracking, "start_wandb", failing)
    assert not export(run, offline(tmp_path), dataclasses.asdict(config))
    assert len(fragments_of(run.address, tmp_path)) == 2


def test_an_export_online_starts_anew(monkeypatch, tmp_path):
    """W&B goes on with a run that is resumed, and replaces one that is not."""
    import wandb

    asked = []
    monkeypatch.setattr(wandb, "init", lambda **options: asked.append(options["resume"]) or failing())
    online = dataclasses.replace(offline(tmp_path), mode="online")
    Mirror(online, ADDRESS, {}, is_export=True)
    Mirror(online, ADDRESS, {})
    assert asked == [None, "allow", None]


def test_damaged_runs_are_not_exported_and_the_others_are(finished, tmp_path, monkeypatch, capsys):
    _, run, _ = finished
    folders = [tmp_path / name / ADDRESS for name in ("whole", "damaged")]
    for folder in folders:
        shutil.copytree(run.folder, folder)
    (folders[1] / files.METRICS).write_bytes(b"")
    exported = []
    monkeypatch.setattr(tracking, "start_wandb", lambda *_, **__: exported.append(Recorder()) or exported[-1])
    assert call_script(monkeypatch, "--folder", tmp_path, *folders[1::-1]) == 1
    said, complaints = capsys.readouterr()
    assert said == f"exported {folders[0]}\n" and len(exported) == 1 and len(exported[0].logged) == 5
    assert (
        complaints
        == f"error: {folders[1] / files.METRICS} is damaged (its content is not what summary.json knows); delete it or the folder\n"
    )


@pytest.mark.parametrize("name", ["config_alone", "nothing"])
def test_what_is_no_run_is_refused_before_any_is_exported(name, finished, tmp_path, monkeypatch, capsys):
    _, run, _ = finished
    folder = tmp_path / name / ADDRESS
    if name == "config_alone":
        folder.mkdir(parents=True)
        shutil.copy(run.folder / files.CONFIG, folder)
    monkeypatch.setattr(tracking, "start_wandb", failing)
    assert call_script(monkeypatch, run.folder, folder) == 2
    assert capsys.readouterr() == ("", f"error: {folder} holds no run; config.yaml and metrics.jsonl must be in it\n")


def call_script(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["export_wandb.py", *map(str, arguments)])
    script = runpy.run_path(str(CONFIGS.parent / "scripts" / "export_wandb.py"))
    return exit_code_of(script["parse"], script["main"])
