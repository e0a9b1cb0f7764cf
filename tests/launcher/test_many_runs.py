"""Do runs that several processes want get done once, with nothing written by who does not hold them, and nothing left behind?"""

import dataclasses
import multiprocessing
import os
import shutil
import time

import pytest
from composed import smoke
from ranks import FORK
from rich.console import Console

from bn_repro.experiments import run as carrying_out
from bn_repro.experiments import supervised
from bn_repro.launcher import child
from bn_repro.launcher.child import DONE, FAILED, SKIPPED
from bn_repro.launcher.grids import configs_of
from bn_repro.launcher.many import ManyRuns
from bn_repro.launcher.runs import run_here, run_many
from bn_repro.records import files
from bn_repro.records.lock import Lock, is_busy
from bn_repro.records.record import Run, address_of, run_folder
from bn_repro.training.loop import Interrupted

pytestmark = pytest.mark.usefixtures("restored_torch_settings")


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """Return two small runs; let run_many fork from this process, which has torch loaded."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: FORK)
    config = smoke("norm=none")
    train = dataclasses.replace(config.train, steps=2, eval_every=1, checkpoint_every=1)
    config = dataclasses.replace(config, results_folder=str(tmp_path / "runs"), train=train)
    return [dataclasses.replace(config, seed=seed, name=f"none-s{seed}") for seed in range(2)]


def test_what_others_start_from_comes_after_the_first_experiment(tmp_path):
    """At the end it would run alone, and the others would wait for it."""
    names = ("covariate_shift", "mnist_map", "text_language_model", "text_head")
    elsewhere = str(tmp_path)
    configs = [dataclasses.replace(config, results_folder=elsewhere) for name in names for config in configs_of(f"{name}/quick")]
    seconds = {address_of(config): float(config.seed) for config in configs}
    waiting = ManyRuns(configs, Console(), 2, seconds, lambda experiment: None).waiting
    order = list(dict.fromkeys(config.experiment for config in waiting))
    assert order == ["covariate_shift", "text_language_model", "mnist_map", "text_head"]
    assert len(waiting) == len(configs) and waiting[0].seed == max(config.seed for config in configs_of("covariate_shift/quick"))


def test_finished_runs_come_first_and_take_no_time(tmp_path):
    configs = [dataclasses.replace(config, results_folder=str(tmp_path)) for config in configs_of("mnist_map/quick")]
    finished = configs[3]
    run_folder(finished).mkdir(parents=True)
    (run_folder(finished) / files.SUMMARY).write_text("{}")
    seconds = {address_of(config): 7.0 for config in configs}
    many = ManyRuns(configs, Console(), 2, seconds, lambda experiment: None)
    assert many.waiting[0] == finished
    assert many.seconds_waiting() == 7.0 * (len(configs) - 1)


def wait_for(condition):
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def kinds(outcomes):
    return {outcome.address[-2:]: outcome.kind for outcome in outcomes}


def do(configs, path):
    with open(path, "w") as file:
        return run_many(configs, 1, Console(file=file, width=200), lambda _: None)


def test_a_busy_run_is_come_back_to_last(configs, tmp_path):
    def hold(has_lock):  # in a process: a fork beside a thread of this one could inherit a lock that nobody opens
        lock = Lock(run_folder(configs[0]))
        has_lock.set()
        wait_for(lambda: Run(run_folder(configs[1])).is_complete)
        lock.close()

    has_lock = FORK.Event()
    FORK.Process(target=hold, args=(has_lock,)).start()
    assert has_lock.wait(60) and is_busy(run_folder(configs[0]))
    outcomes = do(configs, tmp_path / "said")
    assert [outcome.address[-2:] for outcome in outcomes] == ["s1", "s0"] and set(kinds(outcomes).values()) == {DONE}
    said = (tmp_path / "said").read_text()
    assert said.count("mnist_sigmoid/smoke/none-s0: another process does it; it is come back to last\n") == 1 and "fail" not in said


def test_what_another_process_finished_meanwhile_is_skipped(configs, tmp_path):
    elsewhere = [dataclasses.replace(config, results_folder=str(tmp_path / "elsewhere")) for config in configs]
    supervised.run(elsewhere[0])

    def finish(has_lock):  # in a process, as above
        lock = Lock(run_folder(configs[0]))
        has_lock.set()
        wait_for(lambda: Run(run_folder(configs[1])).is_complete)
        shutil.copytree(run_folder(elsewhere[0]), run_folder(configs[0]), dirs_exist_ok=True)
        lock.close()

    has_lock = FORK.Event()
    other = FORK.Process(target=finish, args=(has_lock,))
    other.start()
    assert has_lock.wait(60)
    assert kinds(do(configs, tmp_path / "said")) == {"s0": SKIPPED, "s1": DONE}
    other.join(60)
    assert other.exitcode == 0


def test_two_at_once_share_the_work(configs, tmp_path):
    processes = [FORK.Process(target=do, args=(configs, tmp_path / f"said-{number}")) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    said = [(tmp_path / f"said-{number}").read_text() for number in range(2)]
    assert all(f"{config.name}: " in "".join(said) for config in configs) and not any("fail" in text for text in said)
    for config in configs:
        assert Run(run_folder(config)).damage is None and not (run_folder(config) / files.ERROR).exists()


def test_a_run_that_was_finished_between_two_looks_is_not_begun_again(configs, monkeypatch):
    """The first look finds nothing, the lock is then free: the other process has just ended."""
    config = configs[0]
    real, looks = carrying_out.finished_summary, []

    def look(config):
        looks.append(real(config))
        if len(looks) == 1:
            monkeypatch.setattr(carrying_out, "finished_summary", real)
            supervised.run(config)
        return looks[-1]

    monkeypatch.setattr(carrying_out, "finished_summary", look)
    before = supervised.run(config)
    assert looks == [None] and before == Run(run_folder(config)).summary


def test_errors_are_written_by_who_holds_the_run_and_go_when_it_succeeds(configs, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("it broke")

    error = run_folder(configs[0]) / files.ERROR
    with monkeypatch.context() as patch:
        patch.setattr(supervised, "run", fail)
        assert kinds(do(configs[:1], tmp_path / "said")) == {"s0": FAILED}
    assert "it broke" in error.read_text()
    assert kinds(do(configs[:1], tmp_path / "said")) == {"s0": DONE} and not error.exists()
    child.keep_error(configs[0], "too late")
    with Lock(run_folder(configs[1])):
        child.keep_error(configs[1], "of another")
    assert not error.exists() and not (run_folder(configs[1]) / files.ERROR).exists()


@pytest.mark.parametrize("again", [lambda configs, path: run_here(configs[0]), do])
def test_what_killed_processes_left_is_swept(configs, tmp_path, again):
    """Beside a finished run: half-written files, checkpoints, an error; files of others stay."""
    supervised.run(configs[0])
    folder = run_folder(configs[0])
    before = {path.name for path in folder.iterdir()}
    (folder / files.CHECKPOINTS).mkdir()
    litter = [folder / f".{files.METRICS}.abcd_123", folder / files.CHECKPOINTS / ".step-000000001-0123456789abcdef.pt.xyz98765"]
    for path in [*litter, folder / files.ERROR, folder / ".notes.txt.swp"]:
        path.write_bytes(b"half")
    again(configs[:1], tmp_path / "said")
    assert {path.name for path in folder.iterdir()} == before | {".notes.txt.swp"}


def test_a_run_under_way_loses_half_written_files_and_no_checkpoint(configs):
    with pytest.raises(Interrupted):
        supervised.run(configs[0], is_stopping=lambda: True)
    folder = run_folder(configs[0])
    checkpoints = os.listdir(folder / files.CHECKPOINTS)
    for path in (folder / f".{files.ACTIVATIONS}.abcd_123", folder / files.CHECKPOINTS / f".{checkpoints[0]}.abcd_123"):
        path.write_bytes(b"half")
    with pytest.raises(Interrupted):
        supervised.run(configs[0], is_stopping=lambda: True)
    assert os.listdir(folder / files.CHECKPOINTS) == checkpoints and not list(folder.glob(".a*"))
