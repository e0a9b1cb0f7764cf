"""Is what this machine lacks for a run found without torch, and nothing that it has?"""

import dataclasses
import os

import pytest
from composed import composed, smoke

from bn_repro.launcher import machine
from bn_repro.launcher.machine import refuse_device, refuse_launcher, refuse_what_is_missing


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for cached in (refuse_device, machine.refuse_image_folder, machine.memory):
        cached.cache_clear()
    return tmp_path


def changed(**values):
    return dataclasses.replace(smoke(), **values)


def test_a_usual_run_lacks_nothing(folder):
    refuse_what_is_missing(smoke())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "drivers, visible, is_there", [((), None, False), (("/",), None, True), (("/",), "", False), (("/",), "-1", False)]
)
def test_a_device_is_missed_where_there_is_no_driver_or_none_is_visible(monkeypatch, drivers, visible, is_there):
    """Whether torch can use the device is torch's to say; here none is refused that it might."""
    monkeypatch.setattr(machine, "DRIVERS", drivers)
    monkeypatch.setattr(machine, "version", lambda package: "2.15.0+cu130")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if is_there:
        refuse_device("cuda:1")
    else:
        with pytest.raises(ValueError, match="device=cuda:1: this machine has no such device; cpu is always there"):
            refuse_device("cuda:1")


def test_threads_are_some_a_core():
    most = 4 * os.cpu_count()
    refuse_what_is_missing(changed(threads=most))
    with pytest.raises(ValueError, match=f"threads={most + 1} is too many for {os.cpu_count()} cores; give at most {most}"):
        refuse_what_is_missing(changed(threads=most + 1))


def test_a_matrix_that_memory_does_not_hold(monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 12 * 784 * 100 - 1)
    with pytest.raises(ValueError, match="network.width=100 needs 0 GB of memory for one matrix of weights"):
        refuse_what_is_missing(smoke())
    monkeypatch.setattr(machine, "memory", lambda: 12 * 784 * 100)
    refuse_what_is_missing(smoke())


def test_memory_is_what_the_machine_or_the_group_allows(tmp_path, monkeypatch):
    assert 1e8 < machine.memory() < 1e14
    (tmp_path / "limit").write_text("123456789\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(machine, "MEMORY_LIMITS", (str(tmp_path / "limit"), str(tmp_path / "none"), str(tmp_path / "not_there")))
    machine.memory.cache_clear()
    assert machine.memory() == 123456789


def test_compiling_needs_a_compiler(monkeypatch):
    compiled = changed(train=dataclasses.replace(smoke().train, is_compiled=True))
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/c++" if name == "g++" else None)
    refuse_what_is_missing(compiled)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="needs a C\\+\\+ compiler"):
        refuse_what_is_missing(compiled)


def test_a_cluster_is_missed(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    refuse_launcher(["hydra/launcher=joblib"])
    with pytest.raises(ValueError, match="hydra/launcher=slurm: this machine has no srun"):
        refuse_launcher(["hydra/launcher=slurm"])


def test_images_of_a_folder_are_counted_by_kind(folder):
    config = composed("experiment=inception/imagenet", "arm=bn_x5", "seed=0", "device=cpu", "data.folder=images", "data.num_classes=2")
    with pytest.raises(ValueError, match="no images in images/train"):
        refuse_what_is_missing(config)
    for split in ("train", "val"):
        for kind in ("a", "b"):
            (folder / "images" / split / kind).mkdir(parents=True)
    machine.refuse_image_folder.cache_clear()
    refuse_what_is_missing(config)
    (folder / "images" / "train" / "c").mkdir()
    machine.refuse_image_folder.cache_clear()
    with pytest.raises(ValueError, match="data.num_classes=2, but images/train has 3 classes"):
        refuse_what_is_missing(config)


def test_what_a_run_starts_from_must_be_there():
    config = composed("experiment=text_head/smoke", "norm=batch", "seed=0")
    with pytest.raises(ValueError, match="is no complete run in results/runs; do experiment=text_language_model/smoke first"):
        refuse_what_is_missing(config)
