"""Does a run go on when W&B does not, and is that told in one line?"""

import dataclasses
import os

import pytest
from composed import smoke
from mirrored import ADDRESS, Recorder, failing, offline, read_back

from bn_repro.experiments import supervised, tracking
from bn_repro.experiments.exporting import export
from bn_repro.experiments.tracking import Mirror

pytestmark = pytest.mark.usefixtures("restored_torch_settings")


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

    def start(settings, mode, address, config, is_anew):
        modes.append(mode)
        return failing() if mode == "online" else Recorder()

    monkeypatch.setattr(tracking, "start_wandb", start)
    mirror = Mirror(dataclasses.replace(offline(tmp_path), mode="online"), ADDRESS, {})
    mirror.log({"step": 0, "loss": 1.0})
    assert modes == ["online", "offline"] and mirror.run.logged == [{"step": 0, "eval/loss": 1.0}]
    assert "wandb sync" in capsys.readouterr().err


@pytest.mark.parametrize("failing_method", ["log", "finish"])
def test_a_failure_on_the_way_is_told_once(tmp_path, monkeypatch, capsys, failing_method):
    monkeypatch.setattr(tracking, "start_wandb", lambda *_, **__: Recorder(failing_method))
    mirror = Mirror(offline(tmp_path), ADDRESS, {})
    for step in range(3):
        mirror.log({"step": step})
    mirror.finish({"accuracy": 0.5})
    mirror.finish({"accuracy": 0.5})
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_end_is_told(tmp_path, monkeypatch):
    for summary, exit_code in (({"accuracy": 0.5}, 0), (None, 1)):
        recorder = Recorder()
        monkeypatch.setattr(tracking, "start_wandb", lambda *_, recorder=recorder, **__: recorder)
        Mirror(offline(tmp_path), ADDRESS, {}).finish(summary)
        assert recorder.exit_codes == [exit_code]
        assert recorder.summary == ({"final/accuracy": 0.5, "final/diverged": False} if summary else {})


def test_disabled_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "start_wandb", failing)
    mirror = Mirror(dataclasses.replace(offline(tmp_path), mode="disabled"), ADDRESS, {})
    mirror.log({"step": 0})
    mirror.finish({})


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
