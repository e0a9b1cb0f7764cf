"""Is a run one record: complete, skipped when done, refused when another, and the same after any kill?"""

import dataclasses
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from composed import smoke
from ranks import FORK
from rich.console import Console
from safetensors.torch import load_file

from bn_repro.config import VIRTUAL_NORMS, walk
from bn_repro.data.images import Batches, load_images
from bn_repro.data.sources import DATASETS
from bn_repro.experiments import image_task, probing, supervised
from bn_repro.launcher import grids, runs
from bn_repro.launcher.child import DONE, FAILED, INTERRUPTED, SKIPPED
from bn_repro.launcher.grids import configs_of, experiments, grid
from bn_repro.launcher.runs import run_here, run_many
from bn_repro.networks import build_network
from bn_repro.norms import keep_reference
from bn_repro.probes import step_cost
from bn_repro.records import files
from bn_repro.records.lock import RunBusy
from bn_repro.records.record import DIVERGED, FINISHED, STOPPED_AT_CHANCE, Run, run_folder
from bn_repro.records.writing import RunWriter
from bn_repro.training.loop import Interrupted, evaluate

pytestmark = pytest.mark.usefixtures("restored_torch_settings")
IMAGE = (28, 28)
MEASURED = ("seconds", "steps_per_second", "peak_memory_mb")


@pytest.fixture
def configured(tmp_path):
    """Return a function that composes a smoke run recorded in a folder of the test."""

    def configure(*overrides, results="runs", **train):
        config = smoke(*overrides)
        changed = dataclasses.replace(config.train, **train)
        return dataclasses.replace(config, results_folder=str(tmp_path / results), name=f"{config.norm}-s{config.seed}", train=changed)

    return configure


def contents(config):
    """Return what two equal runs have equal, byte for byte, and the summary without clock and memory."""
    folder = run_folder(config)
    summary = {name: value for name, value in json.loads((folder / files.SUMMARY).read_text()).items() if name not in MEASURED}
    return {name: (folder / name).read_bytes() for name in (files.METRICS, files.ACTIVATIONS, files.WEIGHTS)} | {"summary": summary}


def forked(target, *arguments):
    process = FORK.Process(target=target, args=arguments)
    process.start()
    return process


def test_accuracy_of_training_images_is_measured_where_asked(configured):
    config = configured("norm=batch", "data.evaluate_training=300", "network.drop_rate=0.3", steps=20)
    summary = supervised.run(config)
    network = build_network(config.network, IMAGE, 10, config.seed)
    network.load_state_dict(load_file(run_folder(config) / files.WEIGHTS))
    images, _ = load_images(config.data, torch.device("cpu"))
    x, y = images.between(0, 300)
    assert summary["training_accuracy"] == pytest.approx((network.eval()(x).argmax(1) == y).double().mean().item())
    assert "training_accuracy" not in supervised.run(configured("norm=batch", results="others", steps=20))


@pytest.mark.parametrize("norm, num_norms, num_parameters", [("none", 0, 99_710), ("batch", 3, 100_010)])
def test_record_of_a_run(configured, norm, num_norms, num_parameters):
    config = configured(f"norm={norm}")
    reported = []
    summary = supervised.run(config, lambda *progress: reported.append(progress))
    run = Run(run_folder(config))
    assert run.is_complete and run.summary == summary and run.address == f"mnist_sigmoid/smoke/{norm}-s0"
    assert {path.name for path in run.folder.iterdir()} - {files.LOCK, files.CHECKPOINTS} == {
        files.CONFIG, files.ENVIRONMENT, files.METRICS, files.ACTIVATIONS, files.CORRECT, files.WEIGHTS, files.SUMMARY,
    }  # fmt: skip
    assert run.config["train.steps"] == 60 and run.config["network.norm"] == norm
    assert run.environment["packages"]["torch"] == torch.__version__.split("+")[0]
    assert run.environment["commit"] is None or len(run.environment["commit"]) == 40  # None outside of a repository

    assert [row["step"] for row in run.metrics] == list(range(0, 61, 10))
    assert run.metrics[0]["train_loss"] is None and run.metrics[0]["accuracy"] < 0.3
    assert [row["step"] for row in run.metrics if "probe_loss" in row] == run.activations["step"].tolist() == [0, 20, 40, 60]
    places = [f"hidden.{layer}/{place}" for layer in range(3) for place in ("before_norm", "after_norm", "after_nonlinearity")]
    assert {name.rsplit("/", 1)[0] for name in run.activations if name != "step"} == set(places)
    assert run.activations["hidden.2/after_norm/unit_percentiles"].shape == (4, 25, 3)
    assert (run.activations["hidden.2/after_norm/histogram"].sum(1) == 100 * 100).all()

    assert (summary["status"], summary["steps"], summary["first_bad_step"]) == (FINISHED, 60, None)
    assert (summary["num_parameters"], summary["num_batch_norms"], summary["num_folded"]) == (num_parameters, num_norms, num_norms)
    assert summary["folding_error"] < 1e-5
    assert (max(summary["scale_invariance"].values()) < 0.05) == (norm == "batch")
    assert summary["accuracy_moving_averages"] == run.metrics[-1]["accuracy"]
    assert (norm == "none") == (run.metrics[-1]["bias_norm"] is not None)
    assert reported[0][:2] == (0, 60) and reported[-1][:2] == (60, 60)


def test_exported_weights_have_population_statistics_and_the_accuracy_of_the_summary(configured):
    """Algorithm 2 on the ten batches after the last step: E = mean of mu_B, Var = 60/59 mean of var_B."""
    config = configured("norm=batch")
    summary = supervised.run(config)
    weights = load_file(run_folder(config) / files.WEIGHTS)
    training, images = load_images(config.data, torch.device("cpu"))
    batches = Batches(training, 60, config.seed)
    inputs = torch.stack([batches.at(60 + number)[0].flatten(1) @ weights["hidden.0.affine.weight"].T for number in range(10)])
    torch.testing.assert_close(weights["hidden.0.norm.running_mean"], inputs.mean((0, 1)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights["hidden.0.norm.running_var"], inputs.var(1, correction=0).mean(0) * 60 / 59, rtol=1e-4, atol=1e-5)
    network = build_network(config.network, (28, 28), 10, seed=1)
    network.load_state_dict(weights)
    assert evaluate(network, images, lambda: None, batch_size=1000)[0] == summary["accuracy"]


def test_seconds_are_of_the_whole_run_and_steps_a_second_of_its_steps(configured, monkeypatch):
    monkeypatch.setattr(supervised, "build", lambda config, build=supervised.build: (time.sleep(1), build(config))[1])
    summary = supervised.run(configured())
    assert summary["seconds"] >= 1 and summary["steps_per_second"] > 1.1 * summary["steps"] / summary["seconds"]


def test_a_complete_run_is_not_done_again(configured, monkeypatch):
    config = configured(steps=2, checkpoint_every=2)
    summary = supervised.run(config)
    before = {path.name: path.stat().st_mtime_ns for path in run_folder(config).iterdir()}
    monkeypatch.setattr("bn_repro.experiments.run.RunWriter", None)
    assert supervised.run(config) == summary
    assert supervised.run(dataclasses.replace(config, threads=2)) == summary  # changes no result
    assert {path.name: path.stat().st_mtime_ns for path in run_folder(config).iterdir()} == before


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_run_of_another_config_is_refused_with_the_difference(configured, is_complete):
    config = configured(steps=2)
    if is_complete:
        supervised.run(config)
    else:
        with pytest.raises(Interrupted):
            supervised.run(config, is_stopping=lambda: True)
    other = configured(steps=2, lr=0.25)
    with pytest.raises(ValueError, match=r"another config \(train.lr: 0.5 recorded, 0.25 asked for\)"):
        supervised.run(other)
    with pytest.raises(ValueError, match="train.batch_size=1"):
        supervised.run(configured(batch_size=1))


def test_a_run_under_way_elsewhere_is_refused(configured):
    config = configured(steps=2)
    writer = RunWriter(run_folder(config))
    with pytest.raises(RunBusy):
        supervised.run(config)
    writer.close()


@pytest.mark.parametrize("norm", ["batch", "noisy_batch"])
def test_probes_change_nothing(configured, norm):
    watched, alone = configured(f"norm={norm}"), configured(f"norm={norm}", results="alone")
    alone = dataclasses.replace(alone, probe=dataclasses.replace(alone.probe, every=0))
    supervised.run(watched)
    supervised.run(alone)
    assert contents_without_activations(watched) == contents_without_activations(alone)
    assert not (run_folder(alone) / files.ACTIVATIONS).exists()


def contents_without_activations(config):
    rows = [{name: value for name, value in row.items() if name != "probe_loss"} for row in Run(run_folder(config)).metrics]
    return rows, (run_folder(config) / files.WEIGHTS).read_bytes()


def test_divergence_is_an_outcome(configured, capsys):
    config = configured("norm=none", lr=1e38)
    assert run_here(config) == 0
    run = Run(run_folder(config))
    assert run.summary["status"] == DIVERGED and run.summary["first_bad_step"] in (1, 2)
    assert [row["step"] for row in run.metrics] == [0, 10] and run.metrics[-1]["train_loss"] is None
    assert f"diverged, the loss was not finite from step {run.summary['first_bad_step']} on" in capsys.readouterr().out


def test_a_run_at_chance_ends_where_that_is_asked_for(configured, capsys):
    """With a vanishing learning rate the network stays untrained, at chance."""
    config = configured("norm=none", lr=1e-30, stop_at_chance=15)
    assert run_here(config) == 0
    run = Run(run_folder(config))
    assert run.damage is None and run.summary["status"] == STOPPED_AT_CHANCE and run.summary["steps"] == 20
    assert [row["step"] for row in run.metrics] == [0, 10, 20] and run.summary["accuracy"] < 0.15
    assert "stopped, at chance after 20 steps" in capsys.readouterr().out
    assert run_here(config) == 0, "finished, and not begun again"

    trains = configured("norm=batch", results="other", stop_at_chance=15)
    assert supervised.run(trains)["status"] == FINISHED


def test_only_the_chosen_parameters_train(configured):
    config = configured("network.keep_bias=true", steps=3, trainable=r"hidden\.\d\.affine\.bias")
    supervised.run(config)
    initial = build_network(config.network, (28, 28), 10, config.seed).state_dict()
    for name, tensor in load_file(run_folder(config) / files.WEIGHTS).items():
        if "running" not in name and "tracked" not in name and not name.endswith("affine.bias"):
            assert torch.equal(tensor, initial[name]), name
    with pytest.raises(ValueError, match="train.trainable=nothing matches no parameter; choices: "):
        supervised.run(configured(results="other", trainable="nothing"))


LONG = {"steps": 300, "checkpoint_every": 10, "eval_every": 20}


def long_config(folder):
    config = smoke("norm=batch", "train.momentum=0.9")
    return dataclasses.replace(config, results_folder=str(folder), train=dataclasses.replace(config.train, **LONG))


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """Return what an uninterrupted run of `long_config` leaves."""
    config = long_config(tmp_path_factory.mktemp("whole"))
    supervised.run(config)
    return contents(config)


def killed_in_the_middle(config, num_reports, delay):
    """Do a run that a thread kills a moment after so many reports of progress, wherever it is then."""
    is_time = threading.Event()
    reports = []

    def kill():
        is_time.wait()
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    def report(*progress):
        reports.append(progress)
        if len(reports) >= num_reports:
            is_time.set()

    threading.Thread(target=kill, daemon=True).start()
    supervised.run(config, report)


def test_killed_at_ten_random_moments_it_ends_the_same(tmp_path, long_run):
    """kill -9 each time, resumed each time; no row lost or doubled, every byte equal."""
    config, moments = long_config(tmp_path), random.Random(0)
    for _ in range(10):
        process = forked(killed_in_the_middle, config, moments.randint(1, 25), moments.uniform(0, 0.005))
        process.join()
        assert process.exitcode == -signal.SIGKILL and not Run(run_folder(config)).is_complete
    supervised.run(config)
    assert contents(config) == long_run


def killed_at_replace(config, number):
    """Do a run that is killed just before its n-th file gets its name."""
    real, calls = os.replace, []

    def replace(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)

    os.replace = replace
    supervised.run(config)


def test_killed_at_every_file_it_ends_the_same(configured):
    settings = {"steps": 4, "eval_every": 2, "checkpoint_every": 2}
    whole = configured(results="whole", **settings)
    supervised.run(whole)
    for number in range(1, 30):
        config = configured(results=f"killed_{number}", **settings)
        process = forked(killed_at_replace, config, number)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL and not Run(run_folder(config)).is_complete
        supervised.run(config)
        assert contents(config) == contents(whole), f"killed at file {number}"
    assert number > 8 and contents(config) == contents(whole)


def exit_with_run_here(config):
    sys.exit(run_here(config))


def wait_for_rows(config, num):
    path = run_folder(config) / files.METRICS
    for _ in range(1000):
        if path.exists() and path.read_bytes().count(b"\n") >= num:
            return
        time.sleep(0.01)
    raise AssertionError("the run does not start")


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, long_run, capfd, number, code):
    stopped = long_config(tmp_path)
    process = forked(exit_with_run_here, stopped)
    wait_for_rows(stopped, 2)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == code and not Run(run_folder(stopped)).is_complete
    said = capfd.readouterr().out
    assert "interrupted and saved at step" in said and "the same command goes on from there" in said
    assert run_here(stopped) == 0
    assert contents(stopped) == long_run
    assert run_here(stopped) == 0 and "complete already" in capfd.readouterr().out


def test_interrupted_at_every_report_it_ends_the_same(configured):
    """Asked to stop at each moment a run can be: while it trains, evaluates, and measures at its end."""
    settings = {"steps": 4, "eval_every": 2, "checkpoint_every": 3}
    whole, reports = configured(results="whole", **settings), []
    supervised.run(whole, lambda *progress: reports.append(progress))
    for number in range(len(reports)):
        config, answers = configured(results=f"stopped_{number}", **settings), iter([False] * number + [True])
        with pytest.raises(Interrupted):
            supervised.run(config, is_stopping=lambda answers=answers: next(answers))
        supervised.run(config)
        assert contents(config) == contents(whole), f"stopped at report {number}, step {reports[number][0]}"


def test_a_full_disk_ends_with_a_line_and_can_go_on(configured, monkeypatch, capsys):
    config = configured(steps=6, eval_every=2, checkpoint_every=3)
    with monkeypatch.context() as patch:
        patch.setattr("bn_repro.experiments.run.save_checkpoint", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
        assert run_here(config) == 1
    complaint = capsys.readouterr().err
    assert "No space left on device" in complaint and "goes on" in complaint and len(complaint.splitlines()) == 1
    assert run_here(config) == 0


@pytest.fixture
def forking(monkeypatch):
    """Let run_many fork from this process, which has torch loaded and may have functions replaced."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: FORK)


def quiet():
    return Console(file=open(os.devnull, "w"))


def test_many_runs_longest_first_then_skipped(configured, forking):
    configs = [configured(f"seed={seed}", steps=2) for seed in range(3)]
    seconds = {0: 1.0, 1: 5.0, 2: 3.0}
    ended = []
    outcomes = run_many(configs, 1, quiet(), lambda config: seconds[config.seed], ended.append)
    assert [(outcome.address[-2:], outcome.kind) for outcome in outcomes] == [("s1", DONE), ("s2", DONE), ("s0", DONE)]
    assert ended == ["mnist_sigmoid"] and all(Run(run_folder(config)).is_complete for config in configs)
    again = run_many(configs, 2, quiet(), lambda _: None)
    assert [outcome.kind for outcome in again] == [SKIPPED] * 3


def test_a_failing_run_is_reported_and_the_others_go_on(configured, forking, monkeypatch):
    real = supervised.run

    def run(config, *arguments):
        if config.seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if config.seed == 2:
            raise ValueError("this one fails\nand says more")
        return real(config, *arguments)

    monkeypatch.setattr(supervised, "run", run)
    configs = [configured(f"seed={seed}", steps=2) for seed in range(4)]
    ended = []
    outcomes = {outcome.address[-1]: outcome for outcome in run_many(configs, 2, quiet(), lambda _: None, ended.append)}
    assert {seed: outcome.kind for seed, outcome in outcomes.items()} == {"0": DONE, "1": FAILED, "2": FAILED, "3": DONE}
    assert outcomes["1"].reason == "its process ended with code -9" and outcomes["2"].reason == "ValueError: this one fails"
    assert "and says more" in (run_folder(configs[2]) / files.ERROR).read_text()
    assert ended == ["mnist_sigmoid"]


def test_a_signal_stops_many_runs(configured, forking, monkeypatch):
    def run(config, report, is_stopping):
        (run_folder(config)).mkdir(parents=True)
        while not is_stopping():
            time.sleep(0.01)
        raise Interrupted

    monkeypatch.setattr(supervised, "run", run)
    configs = [configured(f"seed={seed}") for seed in range(3)]

    def stop():
        while sum(run_folder(config).exists() for config in configs) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    outcomes = run_many(configs, 2, quiet(), lambda _: None)
    assert [outcome.kind for outcome in outcomes] == [INTERRUPTED] * 2
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.fixture
def few_images(monkeypatch):
    """Put a few random images where every dataset would be, and keep few of the made-up ones."""

    def fetch(name, folder):
        draw = np.random.default_rng(0)
        return {
            split: (draw.integers(0, 256, (num, *DATASETS[name].image_shape), np.uint8), draw.integers(0, 10, num, np.uint8))
            for split, num in (("train", 160), ("test", 40))
        }

    def load(config, device):
        return [dataclasses.replace(part, pixels=part.pixels[:160], labels=part.labels[:160]) for part in load_images(config, device)]

    monkeypatch.setattr("bn_repro.data.images.fetch", fetch)
    monkeypatch.setattr(image_task, "load_images", load)


ELSEWHERE = ("text_", "policy_", "evolution_")  # experiments that have tests of their own, as has tier imagenet
NAMES = {"experiment", "tier", "name", "arm", "seed"}
ALREADY_RUN = set()


def is_new(config):
    """Say whether no run before went the same way: one that differs in no more than names and the size of a number, zero apart."""
    knobs = [
        (knob, bool(value) if isinstance(value, int | float) else str(value))
        for knob, value, metadata in walk(config)
        if metadata["changes_result"] and knob not in NAMES and not knob.startswith("base.")
    ]
    num_before = len(ALREADY_RUN)
    ALREADY_RUN.add(tuple(knobs))
    return len(ALREADY_RUN) > num_before


@pytest.mark.parametrize("name", [name for name in experiments() if not name.endswith("/imagenet") and not name.startswith(ELSEWHERE)])
def test_every_experiment_runs_two_steps(name, tmp_path, monkeypatch, few_images):
    """The first run of its grid, and of each other norm the first, if no experiment before it had the like."""
    arms = {next((override for override in point if override.startswith(("norm=", "arm="))), None): point for point in reversed(grid(name))}
    monkeypatch.setattr(grids, "grid", lambda _: arms.values())
    monkeypatch.setattr(probing, "step_cost", partial(step_cost, rounds=2))
    sizes = [
        "device=cpu",
        "train.is_compiled=false",
        "train.steps=2",
        "train.batch_size=8",
        "train.eval_every=1",
        "train.population_batches=2",
        "data.validation_size=40",
        "probe.every=1",
        "probe.batch_size=8",
    ]
    sizes += ["network.width=0.125"] if name.endswith("/gpu") else []
    configs = configs_of(name, [*sizes, "wandb.mode=disabled", f"results_folder={tmp_path}"])
    first, *others = {config.network.norm: config for config in configs}.values()
    is_new(first)
    for config in (first, *filter(is_new, others)):
        summary = supervised.run(config)
        assert summary["status"] == FINISHED and [row["step"] for row in Run(run_folder(config)).metrics] == [0, 1, 2]
        assert runs.result_line("here", summary).startswith("here: ")


@pytest.mark.parametrize("norm", VIRTUAL_NORMS)
def test_a_run_by_a_reference_batch_resumes_and_exports_it(configured, norm):
    """The reference is 128 training examples, the same in training, evaluation and the exported weights."""
    settings = {"steps": 40, "eval_every": 20, "checkpoint_every": 15}
    whole, stopped = configured(f"norm={norm}", results="whole", **settings), configured(f"norm={norm}", **settings)
    summary = supervised.run(whole)
    polls = iter(range(100))
    with pytest.raises(Interrupted):
        supervised.run(stopped, is_stopping=lambda: next(polls) == 30)
    supervised.run(stopped)
    assert contents(stopped) == contents(whole)
    weights = load_file(run_folder(whole) / files.WEIGHTS)
    training, images = load_images(whole.data, torch.device("cpu"))
    assert torch.equal(weights["reference_batch"], Batches(training, 128, whole.seed).at(0)[0])
    network = build_network(whole.network, (28, 28), 10, seed=1)
    keep_reference(network, torch.zeros(128, 28, 28))
    network.load_state_dict(weights)
    assert evaluate(network, images, lambda: None, batch_size=1000).accuracy == summary["accuracy"]
    with pytest.raises(ValueError, match="train.reference_size=2000 is more than the 1200 training examples"):
        supervised.run(configured(f"norm={norm}", results="other", reference_size=2000))
