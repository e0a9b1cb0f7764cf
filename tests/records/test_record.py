"""Does a run's folder hold every row once, whatever interrupted its writing, and is only a complete one found?"""

import json
import math
import multiprocessing

import numpy as np
import pytest

from bn_repro.records import files
from bn_repro.records.lock import RunBusy
from bn_repro.records.reading import flatten
from bn_repro.records.record import Run, address_of, find_runs, run_folder
from bn_repro.records.writing import RunWriter

CONFIG = {"experiment": "e", "train": {"lr": 0.5, "steps": 4}, "probe": {"percentiles": [15, 50]}}


@pytest.fixture
def writer(tmp_path):
    writer = RunWriter(tmp_path / "e" / "quick" / "batch-s0")
    yield writer
    writer.close()


def record(step):
    return {"a/mean": np.float32(step / 2), "a/percentiles": np.array([step, step + 1], np.float32)}


def written(folder, steps=(0, 1, 2, 3)):
    """Write rows, and activations at even steps, and leave as a killed process does: without a summary."""
    writer = RunWriter(folder)
    writer.begin(CONFIG, {"python": "3"})
    for step in steps:
        writer.append({"step": step, "loss": step / 3})
        if step % 2 == 0:
            writer.append_activations(step, record(step))
    writer.sync()
    writer.close()
    return folder


def test_round_trip(writer):
    writer.begin(CONFIG, {"python": "3", "cores": 2})
    writer.append({"step": 0, "train_loss": None, "loss": 2.5, "note": "é"})
    writer.append_activations(0, record(0))
    assert not Run(writer.folder).is_complete
    writer.append({"step": 2, "train_loss": 0.1, "loss": math.nan})
    writer.append_activations(2, record(2))
    writer.finish({"status": "finished", "accuracy": 0.5, "worst": math.inf})

    run = Run(writer.folder)
    assert run.is_complete and run.address == "e/quick/batch-s0"
    assert run.config == {"experiment": "e", "train.lr": 0.5, "train.steps": 4, "probe.percentiles": [15, 50]}
    assert run.environment == {"python": "3", "cores": 2}
    assert run.summary == {"status": "finished", "accuracy": 0.5, "worst": None}
    assert run.metrics == [
        {"step": 0, "train_loss": None, "loss": 2.5, "note": "é"},
        {"step": 2, "train_loss": 0.1, "loss": None},
    ]
    assert {name: array.tolist() for name, array in run.activations.items()} == {
        "step": [0, 2],
        "a/mean": [0, 1],
        "a/percentiles": [[0, 1], [2, 3]],
    }


def test_column_skips_rows_without_a_value(writer):
    for row in ({"step": 0, "loss": 1.0}, {"step": 5}, {"step": 7, "loss": None}, {"step": 9, "loss": 3.0}):
        writer.append(row)
    steps, values = Run(writer.folder).column("loss")
    assert steps.tolist() == [0, 9] and values.tolist() == [1, 3] and steps.dtype.kind == "i"
    steps, values = Run(writer.folder).column("accuracy")
    assert len(steps) == len(values) == 0


def test_a_row_is_on_disk_when_append_returns(writer):
    writer.append({"step": 0})
    assert (writer.folder / files.METRICS).read_bytes() == b'{"step": 0}\n'


def test_a_run_that_never_began_has_no_config(tmp_path):
    run = Run(tmp_path / "nowhere")
    assert run.config == {} and run.activations == {} and not run.is_complete


@pytest.mark.parametrize("step, kept_rows, kept_activations", [(0, 0, 0), (1, 1, 1), (2, 2, 1), (3, 3, 2), (9, 4, 2)])
def test_rewind_forgets_the_step_and_later(tmp_path, step, kept_rows, kept_activations):
    folder = written(tmp_path / "run")
    writer = RunWriter(folder)
    writer.rewind(step)
    assert [row["step"] for row in Run(folder).metrics] == [0, 1, 2, 3][:kept_rows]
    assert [int(row["step"]) for row in writer.activation_rows] == [0, 2][:kept_activations]
    writer.close()


@pytest.mark.parametrize("rubbish", [b'{"step": 4, "lo', b'{"step": 4, "loss": 1.5}', b"{", b"\xc3"])
def test_rewind_forgets_a_row_cut_short(tmp_path, rubbish):
    folder = written(tmp_path / "run")
    with open(folder / files.METRICS, "ab") as metrics:
        metrics.write(rubbish)
    assert len(Run(folder).metrics) == 4  # a reader passes over it too
    writer = RunWriter(folder)
    writer.rewind(4)
    writer.append({"step": 4})
    writer.close()
    assert [row["step"] for row in Run(folder).metrics] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("step", range(5))
def test_a_resumed_folder_equals_an_uninterrupted_one(tmp_path, step):
    def finish(folder, start):
        writer = RunWriter(folder)
        writer.rewind(start)
        for at in range(start, 4):
            writer.append({"step": at, "loss": at / 3})
            if at % 2 == 0:
                writer.append_activations(at, record(at))
        writer.finish({"steps": 4})
        writer.close()

    finish(written(tmp_path / "resumed"), step)
    finish(written(tmp_path / "whole"), 4)
    for name in (files.METRICS, files.ACTIVATIONS, files.SUMMARY):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def try_to_write(folder, answers):
    try:
        RunWriter(folder)
        answers.put("wrote")
    except RunBusy as error:
        answers.put(str(error))


def test_a_second_writer_is_refused(writer):
    with pytest.raises(RunBusy):
        RunWriter(writer.folder)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=try_to_write, args=(writer.folder, answers))
    process.start()
    assert answers.get() == f"{writer.folder} is being written by another process"
    process.join()
    writer.append({"step": 0})  # the first goes on undisturbed
    assert len(Run(writer.folder).metrics) == 1
    writer.close()
    RunWriter(writer.folder).close()


def test_only_complete_runs_are_found(tmp_path):
    for name in ("none-s1", "batch-s0", "batch-s1"):
        writer = RunWriter(tmp_path / "e" / "quick" / name)
        writer.finish({})
        writer.close()
    written(tmp_path / "e" / "quick" / "unfinished")
    writer = RunWriter(tmp_path / "e" / "long" / "other_tier")
    writer.finish({})
    writer.close()
    assert [run.address for run in find_runs(tmp_path, "e", "quick")] == ["e/quick/batch-s0", "e/quick/batch-s1", "e/quick/none-s1"]
    assert find_runs(tmp_path, "nothing", "quick") == []


def test_flatten():
    assert flatten({"a": 1, "b": {"c": {"d": [2]}, "e": None}}) == {"a": 1, "b.c.d": [2], "b.e": None}


def test_address(tmp_path):
    from composed import smoke

    config = smoke("name=batch-s0", f"results_folder={tmp_path}")
    assert address_of(config) == "mnist_sigmoid/smoke/batch-s0"
    assert run_folder(config) == tmp_path / "mnist_sigmoid" / "smoke" / "batch-s0" and Run(run_folder(config)).address == address_of(config)


def test_metrics_are_one_json_object_a_line(tmp_path):
    lines = (written(tmp_path / "run") / files.METRICS).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]
