"""Does a damaged file of a run cost one line, and never a number? Each file of a run, each damage, a run under way and a finished one."""

import dataclasses
import shutil
import time

import pytest
from composed import smoke
from damages import A_JSON, A_YAML, ANY_FILE, ARRAYS, ROWS, STATES, absent, older, whole_file_with

from bn_repro.experiments import supervised
from bn_repro.launcher.runs import run_here
from bn_repro.records import files
from bn_repro.records.record import Run, damage_in, find_runs, run_folder
from bn_repro.training.loop import Interrupted

pytestmark = pytest.mark.usefixtures("restored_torch_settings")
DAMAGES = {
    files.SUMMARY: ANY_FILE | A_JSON,
    files.CONFIG: ANY_FILE | A_YAML,
    files.ENVIRONMENT: ANY_FILE | A_JSON,
    files.METRICS: ANY_FILE | ROWS,
    files.ACTIVATIONS: ANY_FILE | ARRAYS,
    files.CORRECT: ANY_FILE,
    files.PREDICTIONS: ANY_FILE | ARRAYS,
    files.CHECKPOINTS: ANY_FILE | STATES,  # of the newest
}
NOT_THERE = ("absent", "a_link_to_nothing")
SECONDS = 10  # of a processor, for one case


def small(folder):
    config = smoke("norm=batch", "train.momentum=0.9", "network.depth=1", "data.kept_predictions=20")
    train = dataclasses.replace(config.train, steps=3, eval_every=1, checkpoint_every=1, population_batches=2)
    probe = dataclasses.replace(config.probe, every=1, batch_size=20)
    return dataclasses.replace(config, name="batch-s0", results_folder=str(folder), train=train, probe=probe)


def numbers(config):
    folder = run_folder(config)
    summary = {name: value for name, value in Run(folder).summary.items() if name not in ("seconds", "steps_per_second", "peak_memory_mb")}
    return [
        (folder / name).read_bytes() for name in (files.METRICS, files.ACTIVATIONS, files.WEIGHTS, files.CORRECT, files.PREDICTIONS)
    ], summary


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folders of a finished run and of one interrupted with two checkpoints, and the finished one's numbers."""
    finished, under_way = (small(tmp_path_factory.mktemp(name)) for name in ("finished", "under_way"))
    supervised.run(finished)
    metrics = run_folder(under_way) / files.METRICS
    with pytest.raises(Interrupted):
        supervised.run(under_way, is_stopping=lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= 3)
    assert len(list((run_folder(under_way) / files.CHECKPOINTS).iterdir())) == 2
    return run_folder(finished), run_folder(under_way), numbers(finished)


def cases(*names):
    return [pytest.param(name, damage, id=f"{name}-{damage[:12]}") for name in names for damage in DAMAGES[name]]


def damaged_copy(source, tmp_path, name, damage):
    config = small(tmp_path)
    shutil.copytree(source, run_folder(config))
    path = run_folder(config) / name
    if name == files.CHECKPOINTS:
        path = max(path.iterdir())
    DAMAGES[name][damage](path)
    return config, path


@pytest.mark.parametrize("name, damage", cases(files.CONFIG, files.ENVIRONMENT, files.METRICS, files.ACTIVATIONS, files.CHECKPOINTS))
def test_a_run_under_way_goes_on_to_the_same_numbers_or_stops_with_a_line(made, tmp_path, capfd, name, damage):
    config, path = damaged_copy(made[1], tmp_path, name, damage)
    started = time.process_time()
    code = run_here(config)
    said = capfd.readouterr().err.splitlines()
    assert time.process_time() - started < SECONDS
    if code == 0:
        assert numbers(config) == made[2] and Run(run_folder(config)).damage is None
        is_harmless = damage in NOT_THERE and name in (files.ENVIRONMENT, files.CHECKPOINTS)
        assert len(said) <= 1 if is_harmless or damage == "one_bit" else len(said) == 1 and name in said[0] and "is damaged" in said[0]
    elif code == 2:  # a bit of a knob's value: another config
        assert (name, damage) == (files.CONFIG, "one_bit") and len(said) == 1 and "holds a run of another config" in said[0]
    else:
        assert code == 1 and len(said) == 1 and said[0].startswith("error: ") and name in said[0], said
        assert said[0].endswith("; delete it or the folder")
        assert not Run(run_folder(config)).has_summary
        if damage in ("emptied", "a_list"):  # of all the same
            files.delete(path if path.exists() else max((run_folder(config) / name).iterdir()))  # as the line says
            assert run_here(config) == 0 and numbers(config) == made[2]


@pytest.mark.parametrize(
    "name, damage",
    cases(files.SUMMARY, files.CONFIG, files.ENVIRONMENT, files.METRICS, files.ACTIVATIONS, files.CORRECT, files.PREDICTIONS),
)
def test_a_finished_run_is_not_taken_for_whole(made, tmp_path, capfd, name, damage):
    """By a report neither, nor by one that finds no digests, as in older records."""
    config, path = damaged_copy(made[0], tmp_path, name, damage)
    if name == files.SUMMARY and damage in NOT_THERE:
        assert damage_in(tmp_path, "smoke") == find_runs(tmp_path, "mnist_sigmoid", "smoke") == []
        return
    started = time.process_time()
    found = damage_in(tmp_path, "smoke")
    is_unread = name == files.ENVIRONMENT and damage == "one_bit" and not found  # in a version, of which there is no digest
    if not is_unread:
        assert [each.path for each in found] == [path] and find_runs(tmp_path, "mnist_sigmoid", "smoke") == []
    if name == files.CONFIG and damage == "one_bit":
        return  # another config, as is said there
    if damage in NOT_THERE:
        return  # done again; see the next test
    assert run_here(config) == (0 if is_unread else 1)
    said = capfd.readouterr().err.splitlines()
    assert time.process_time() - started < SECONDS
    assert said == [f"error: {each}" for each in found]
    if name != files.SUMMARY and found:
        older(run_folder(config), files.SUMMARY)
        assert damage in ("one_bit", "another_number") or [damage.path for damage in damage_in(tmp_path, "smoke")] == [path]


@pytest.mark.parametrize("name", [files.CONFIG, files.ENVIRONMENT, files.METRICS, files.ACTIVATIONS, files.CORRECT, files.PREDICTIONS])
def test_a_finished_run_without_a_file_is_done_again(made, tmp_path, capfd, name):
    config, path = damaged_copy(made[0], tmp_path, name, "absent")
    assert run_here(config) == 0 and numbers(config) == made[2]
    assert capfd.readouterr().err.splitlines() == [f"warning: {path} is missing; the run has to be done again; starting again"]


@pytest.mark.parametrize("name", [files.LOCK, files.WEIGHTS, files.ERROR, files.CHECKPOINTS, "."])
@pytest.mark.parametrize("kind", ["a_folder", "a_pipe", "noise"])
def test_what_stands_where_a_run_writes_is_told_before_it_trains(tmp_path, capfd, name, kind):
    config = small(tmp_path)
    path = run_folder(config) / name
    path.parent.mkdir(parents=True)
    path.touch()
    ANY_FILE[kind](path)
    is_fine = (kind == "noise") if name in (files.LOCK, files.WEIGHTS, files.ERROR) else kind == "a_folder"
    started = time.process_time()
    assert run_here(config) == (0 if is_fine else 1) and time.process_time() - started < SECONDS
    said = capfd.readouterr().err.splitlines()
    assert said == [] if is_fine else len(said) == 1 and str(path) in said[0] and said[0].endswith("; delete it or the folder")


def test_a_checkpoint_that_counts_no_rows_is_believed_where_the_config_agrees(made, tmp_path, capfd):
    """As checkpoints were before they counted."""
    without = whole_file_with(lambda state: {name: value for name, value in state.items() if name != "record"})
    for number, damages in enumerate(([], [(files.METRICS, "without_a_row")], [(files.ACTIVATIONS, "one_record")])):
        config = small(tmp_path / str(number))
        shutil.copytree(made[1], run_folder(config))
        for path in (run_folder(config) / files.CHECKPOINTS).iterdir():
            without(path)
        for name, damage in damages:
            DAMAGES[name][damage](run_folder(config) / name)
        assert run_here(config) == 0 and numbers(config) == made[2]
        said = capfd.readouterr().err.splitlines()
        assert len(said) == len(damages) and all(name in said[0] and "steps are missing" in said[0] for name, _ in damages)


def test_weights_may_be_gone(made, tmp_path, capfd):
    config = small(tmp_path)
    shutil.copytree(made[0], run_folder(config))
    absent(run_folder(config) / files.WEIGHTS)
    assert run_here(config) == 0 and len(find_runs(tmp_path, "mnist_sigmoid", "smoke")) == 1
    assert capfd.readouterr().err == ""
