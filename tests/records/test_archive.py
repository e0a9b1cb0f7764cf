"""Is a run in an archive the run that was in the folder, to the byte, for every reader?"""

import dataclasses
import importlib.util
import io
import shutil
import tarfile

import numpy as np
import pytest
from made_up_records import ENVIRONMENT, MadeUp, percentiles_moving, write

from bn_repro.launcher.grids import CONFIGS, configs_of
from bn_repro.launcher.runs import estimated_seconds
from bn_repro.records import archive, files
from bn_repro.records.damage import Missing
from bn_repro.records.record import address_of, archive_of, experiments_in, find_run, find_runs, run_folder
from bn_repro.records.writing import RunWriter


@pytest.fixture
def content(tmp_path):
    """Write two runs as folders, and return all files of theirs by name."""
    for seed in range(2):
        write(tmp_path / "folders", f"e/quick/none-s{seed}", MadeUp([0.1, 0.5 + seed / 10], percentiles_moving(1, rows=2)))
    paths = [path for path in (tmp_path / "folders").rglob("*") if path.is_file() and path.name != files.LOCK]
    return {path.relative_to(tmp_path / "folders").as_posix(): path.read_bytes() for path in paths}


def test_the_same_files_are_the_same_bytes(content):
    assert len(content) == 10
    archived = archive.archived(content)
    assert archived == archive.archived(dict(reversed(content.items())))
    with tarfile.open(fileobj=io.BytesIO(archived), mode="r:xz") as plain:
        assert sorted(plain.getnames()) == sorted(content) and {(entry.mtime, entry.uid, entry.uname) for entry in plain} == {(0, 0, "")}
        assert {name: plain.extractfile(name).read() for name in content} == content


def test_alike_runs_take_little_more_than_one(content):
    one = {name: content[name] for name in content if "none-s0" in name and not name.endswith(files.ACTIVATIONS)}
    many = {name.replace("none-s0", f"none-s{seed}"): bytes_ for name, bytes_ in one.items() for seed in range(100)}
    assert len(archive.archived(many)) < 5 * len(archive.archived(one))


def test_archived_runs_read_as_folders_do(tmp_path, content):
    files.write_atomically(archive_of(tmp_path / "archives", "e"), archive.archived(content))
    assert experiments_in(tmp_path / "archives", "quick") == experiments_in(tmp_path / "folders", "quick") == ["e"]
    assert experiments_in(tmp_path / "archives", "long") == [] and find_runs(tmp_path / "archives", "e", "long") == []
    inside, outside = (find_runs(tmp_path / root, "e", "quick") for root in ("archives", "folders"))
    assert [run.address for run in inside] == [run.address for run in outside] == ["e/quick/none-s0", "e/quick/none-s1"]
    for one, other in zip(inside, outside):
        assert one.name == other.name and find_run(tmp_path / "archives", one.address) == one
        for part in ("config", "environment", "summary", "metrics"):
            assert getattr(one, part) == getattr(other, part)
        assert list(one.activations) == list(other.activations)
        assert all(np.array_equal(array, other.activations[name]) for name, array in one.activations.items())
    nowhere = find_run(tmp_path / "archives", "e/quick/none-s2")
    assert not nowhere.is_complete and nowhere.config == {} and nowhere.activations == {}
    with pytest.raises(Missing):
        nowhere.metrics  # noqa: B018


def test_an_archive_that_is_replaced_is_read_again(tmp_path, content):
    path = archive_of(tmp_path, "e")
    for names in (sorted(content)[:5], sorted(content)):
        files.write_atomically(path, archive.archived({name: content[name] for name in names}))
        assert [str(inside.relative_to(path)) for inside in archive.files_in(path)] == names


def test_what_is_published_comes_back_to_the_byte(tmp_path, monkeypatch, capsys):
    """`publish.py` and its `--unpack` on made-up runs of a grid of tier smoke."""
    monkeypatch.chdir(tmp_path)
    specification = importlib.util.spec_from_file_location("publish", CONFIGS.parent / "scripts" / "publish.py")
    publish = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(publish)
    configs = configs_of("mnist_sigmoid/smoke")
    monkeypatch.setattr(publish, "experiments", lambda tier: [f"mnist_sigmoid/{tier}"])
    monkeypatch.setattr(publish, "configs_of", lambda name: configs)
    for number, config in enumerate(configs):
        writer = RunWriter(run_folder(config))
        writer.begin(dataclasses.asdict(config), ENVIRONMENT)
        writer.append({"step": 0, "accuracy": number / 10})
        writer.append_activations(0, {"a/mean": np.float32(number)})
        writer.finish({"status": "finished", "seconds": number})
        writer.close()
    before = {path: path.read_bytes() for path in files.RUNS.rglob("*") if path.is_file() and path.name != files.LOCK}

    assert publish.publish("smoke") == 0
    published = {path.name for path in (files.PUBLISHED / "smoke" / files.PUBLISHED_RUNS).iterdir()}
    assert published == {f"{config.experiment}.tar.xz" for config in configs}
    assert [estimated_seconds(config, files.PUBLISHED) for config in configs] == list(range(len(configs)))
    assert publish.unpack("smoke", files.UNPACKED) == publish.unpack("smoke", files.RUNS) == 0
    unpacked = {files.RUNS / path.relative_to(files.UNPACKED): path.read_bytes() for path in files.UNPACKED.rglob("*") if path.is_file()}
    assert unpacked == before

    report = {path: path.read_bytes() for path in (files.PUBLISHED / "smoke").rglob("*") if path.is_file()}
    (files.PUBLISHED / "smoke" / files.REPORT_TEXT).write_text("old")
    assert publish.redraw("smoke") == 0 and publish.redraw("long") == 2
    assert {path: path.read_bytes() for path in (files.PUBLISHED / "smoke").rglob("*") if path.is_file()} == report

    shutil.rmtree(files.RUNS)  # as on another machine, which has made one of them anew
    shutil.copytree(files.UNPACKED / address_of(configs[0]), files.RUNS / address_of(configs[0]))
    assert publish.publish("smoke") == 0
    assert {path: path.read_bytes() for path in (files.PUBLISHED / "smoke").rglob("*") if path.is_file()} == report

    altered = files.UNPACKED / address_of(configs[-1]) / files.SUMMARY
    altered.write_bytes(b"{}")
    assert publish.unpack("smoke", files.UNPACKED) == 1 and altered.read_bytes() == b"{}"
    assert str(altered) in capsys.readouterr().err
