"""Do runs come out of jobs as they come out of one machine: same addresses, skipped, resumed, judged from what has arrived?"""

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from composed import smoke
from made_up_records import ENVIRONMENT

from bn_repro.checks.arguments import exit_code_of
from bn_repro.launcher import cluster, reproduce, reproduce_line
from bn_repro.launcher.child import BUSY, DONE, FAILED, Outcome
from bn_repro.launcher.cluster import Bundle, Jobs, arriving, bundles_of, ended_as
from bn_repro.launcher.job_settings import job_settings
from bn_repro.records import files
from bn_repro.records.record import Run, address_of, run_folder
from bn_repro.records.writing import RunWriter

NUM_STEPS = 1_000  # seconds enough to be interrupted in


def config_of(name, seed=0, results="results/runs", encoder=None, **changes):
    config = dataclasses.replace(smoke(), name=name, seed=seed, results_folder=str(results), **changes)
    if encoder:
        config.network = SimpleNamespace(encoder=encoder)
    return config


def names(bundles):
    return [[config.name for config in bundle.configs] for bundle in bundles]


def test_short_runs_share_a_job_and_long_or_unknown_ones_have_their_own():
    seconds = {"a": 200, "b": 300, "c": 200, "d": 5000, "e": None, "f": 10}
    configs = [config_of(name) for name in seconds]
    assert names(bundles_of(configs, lambda config: seconds[config.name])) == [["a", "b"], ["c"], ["d"], ["e"], ["f"]]
    assert names(bundles_of(configs[:1], lambda config: 1e9)) == [["a"]]


def test_a_run_that_starts_from_another_comes_after_it_in_the_same_job():
    first = config_of("first")
    others = [config_of("other"), config_of("second", encoder=address_of(first)), first]
    assert names(bundles_of(others, lambda config: None)) == [["other"], ["first", "second"]]
    assert names(bundles_of(others[:2], lambda config: None)) == [["other"], ["second"]], "what it starts from is there already"


def test_settings_of_jobs_are_those_of_train_then_of_the_runs_then_the_given():
    settings = job_settings(["partition=fast", "timeout_min=30"], [config_of("a", threads=3), config_of("b")])
    assert settings["cpus_per_task"] == 3 and settings["timeout_min"] == 30 and "gpus_per_node" not in settings
    assert settings["slurm_partition"] == "fast" and settings["slurm_max_num_timeout"] == 100 and settings["slurm_signal_delay_s"] == 300
    assert job_settings([], [config_of("a", device="cuda")])["gpus_per_node"] == 1
    for wrong in ("partitoin=x", "partition", "partition="):
        with pytest.raises(ValueError, match="--slurm partit.*: not a setting KEY=VALUE of a job.*partition"):
            job_settings([wrong], [config_of("a")])


class MadeUpJob:
    """A job that is over when `outcomes` are given."""

    job_id = "7"

    def __init__(self, outcomes=None):
        self.outcomes = outcomes

    def done(self):
        return self.outcomes is not None

    def results(self):
        if isinstance(self.outcomes, Exception):
            raise self.outcomes
        return [self.outcomes]


def finish(config):
    writer = RunWriter(run_folder(config))
    writer.begin(dataclasses.asdict(config), ENVIRONMENT)
    writer.append({"step": 0, "accuracy": 0.5})
    writer.finish({"status": "finished", "steps": 60, "accuracy": 0.5, "first_bad_step": None})
    writer.close()


def test_a_record_counts_as_soon_as_it_is_there_and_a_job_only_without_one(tmp_path):
    config = config_of("a", results=tmp_path)
    assert ended_as(config, None) is None
    assert ended_as(config, MadeUpJob([Outcome(address_of(config), FAILED, "a reason")])).reason == "a reason"
    assert ended_as(config, MadeUpJob(RuntimeError("out of memory\nmore"))).reason == "job 7: RuntimeError: out of memory"
    assert ended_as(config, MadeUpJob([])) == Outcome(address_of(config), BUSY, "job 7 ended before it")
    finish(config)
    for job in (None, MadeUpJob(RuntimeError("node failed after the last run"))):
        assert ended_as(config, job) == Outcome(address_of(config), DONE, f"{address_of(config)}: 50.00 % after 60 steps")


def test_runs_arrive_one_by_one_while_their_job_goes_on_and_waiting_can_end(tmp_path):
    first, second, third = (config_of(name, results=tmp_path) for name in "abc")
    job, is_stopping = MadeUpJob(), iter([False, False, True])
    finish(first)
    waiting = arriving({job: [first, second], MadeUpJob([]): [third]}, 0.0, lambda: next(is_stopping))
    assert [outcome.address for outcome in (next(waiting), next(waiting))] == [address_of(first), address_of(third)]
    finish(second)
    assert [outcome.address for outcome in waiting] == [address_of(second)]
    waiting = arriving({job: [config_of("d", results=tmp_path)]}, 0.0, lambda: next(is_stopping))
    assert list(waiting) == [], "the job goes on"


def test_slurm_where_there_is_none_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="^--launcher slurm: Could not detect .*srun"):
        Jobs(tmp_path, "slurm").submit([Bundle((config_of("a"),))], job_settings([], [config_of("a")]))


@pytest.fixture
def command(tmp_path, monkeypatch, capfd, restored_torch_settings):
    """Call the command in an empty folder, runs short enough to share a job; two runs are asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduce, "estimated_seconds", lambda config, published: 1.0)
    all_of = reproduce.asked_for

    def two_of(tier, only):
        choice, configs = all_of(tier, only)
        for config in configs:
            config.wandb.mode, config.train.steps, config.train.eval_every, config.probe.every = "disabled", NUM_STEPS, 500, 0
        return choice, [config for config in configs if config.seed == 0]

    monkeypatch.setattr(reproduce, "asked_for", two_of)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["reproduce.py", "--tier", "smoke", "--only", "mnist_sigmoid", *arguments])
        code = exit_code_of(reproduce_line.parse, reproduce.main)
        return code, capfd.readouterr()

    return call


@pytest.mark.skipif(sys.platform != "linux", reason="finds the job's process in /proc")
def test_jobs_on_this_machine_interrupted_and_resumed_then_judged(command, tmp_path, monkeypatch):
    code, printed = command("--collect")
    assert code == 0 and "of 2 runs 2 to do" in printed.out

    submitted = []
    submit = Jobs.submit

    def submit_and_note(self, bundles, settings):
        held = submit(self, bundles, settings)
        submitted.extend(held)
        return held

    monkeypatch.setattr(Jobs, "submit", submit_and_note)

    def interrupt_when_a_run_has_begun():
        while not any((tmp_path / files.RUNS).rglob(files.METRICS)):
            time.sleep(0.01)
        (controller,) = submitted
        task = int(Path(f"/proc/{controller.job_id}/task/{controller.job_id}/children").read_text())
        os.kill(task, signal.SIGUSR2)  # as SLURM does before the time is over

    interrupter = threading.Thread(target=interrupt_when_a_run_has_begun)
    interrupter.start()
    code, printed = command("--launcher", "local")
    interrupter.join()
    assert code == 0, printed.err
    assert "2 runs in 1 jobs of local; 0 finished already" in printed.out and printed.out.count(f"% after {NUM_STEPS} steps") == 2
    assert "report: results/report/smoke/report.html" in printed.out
    logs = "".join(path.read_text() for path in (tmp_path / files.JOBS / "smoke").glob("*.*") if path.suffix in (".err", ".out"))
    assert "Requeued job" in logs, "the signal put the job back into the queue"
    for norm in ("none", "batch"):
        run = Run(tmp_path / files.RUNS / "mnist_sigmoid" / "smoke" / f"{norm}-s0")
        assert run.is_complete and run.column("accuracy")[0].tolist() == list(range(0, NUM_STEPS + 1, 500))
    known = json.loads((tmp_path / files.JOBS / "smoke" / "jobs.json").read_text())
    assert set(known) == {"mnist_sigmoid/smoke/none-s0", "mnist_sigmoid/smoke/batch-s0"}

    code, printed = command("--launcher", "local")
    assert code == 0 and "2 runs (2 are done) of mnist_sigmoid" in printed.out and len(submitted) == 1
    code, printed = command("--collect")
    assert code == 0 and "of 2 runs 2 done" in printed.out


def test_jobs_still_in_the_queue_are_joined_not_submitted_again(command, tmp_path, monkeypatch):
    folder = tmp_path / files.JOBS / "smoke"
    folder.mkdir(parents=True)
    (folder / "jobs.json").write_text(json.dumps({f"mnist_sigmoid/smoke/{norm}-s0": "7" for norm in ("none", "batch")}))
    queued = MadeUpJob()
    queued.state = "PENDING"
    monkeypatch.setattr("submitit.LocalJob", lambda folder, id: queued)
    monkeypatch.setattr(Jobs, "submit", lambda *_: pytest.fail("submitted again"))
    looks = []

    def look(seconds):
        looks.append(seconds)
        for norm in ("none", "batch"):
            finish(next(config for config in reproduce.asked_for("smoke", ["mnist_sigmoid"])[1] if config.norm == norm))

    monkeypatch.setattr(cluster.time, "sleep", look)
    code, printed = command("--launcher", "local")
    assert code == 0 and "2 runs in 1 jobs of local, 1 of them submitted before" in printed.out and len(looks) == 1, printed.err
