"""Is the batch of a step a pure function of (seed, step), and are training and evaluation examples kept apart?"""

import dataclasses

import numpy as np
import pytest
import torch
from composed import smoke

from bn_repro.data import images as images_module
from bn_repro.data.images import Batches, Images, binarized, load_images, synthetic_patterns

CPU = torch.device("cpu")
NUM, BATCH_SIZE = 53, 8  # six batches an epoch, five examples left over


def numbered():
    """Images whose label and first pixel are their number."""
    pixels = torch.zeros(NUM, 2, 2, dtype=torch.uint8)
    pixels[:, 0, 0] = torch.arange(NUM)
    return Images(pixels, torch.arange(NUM))


def labels_at(steps, seed=0):
    batches = Batches(numbered(), BATCH_SIZE, seed)
    return {step: batches.at(step)[1].tolist() for step in steps}


def test_batch_depends_on_seed_and_step_alone():
    steps = list(range(20))
    in_order = labels_at(steps)
    shuffled = np.random.default_rng(0).permutation(steps).tolist()
    assert labels_at(shuffled) == in_order == labels_at(reversed(steps))
    assert labels_at([13])[13] == in_order[13]
    torch.manual_seed(5)
    np.random.seed(5)
    assert labels_at(steps) == in_order
    assert labels_at(steps, seed=1) != in_order


def test_global_random_numbers_are_not_used():
    rng, numpy_rng = torch.get_rng_state(), np.random.get_state()[1].copy()
    labels_at(range(20))
    assert torch.equal(torch.get_rng_state(), rng) and (np.random.get_state()[1] == numpy_rng).all()


def test_an_epoch_shows_no_example_twice():
    batches = labels_at(range(18))
    epochs = [sum((batches[step] for step in range(6 * epoch, 6 * epoch + 6)), []) for epoch in range(3)]
    assert all(len(epoch) == len(set(epoch)) == 48 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert set().union(*epochs) == set(range(NUM))  # what one epoch leaves over, another shows


def test_order_is_pinned():
    """As it was when the published records were made."""
    assert labels_at([0, 6]) == {0: [38, 11, 18, 10, 23, 28, 4, 36], 6: [9, 23, 22, 31, 47, 5, 30, 10]}


def test_augmentation_leaves_the_order_of_the_examples():
    plain, moved = Batches(numbered(), BATCH_SIZE, 0), Batches(numbered(), BATCH_SIZE, 0, crop_padding=1, has_flips=True)
    assert all(torch.equal(plain.at(step)[1], moved.at(step)[1]) for step in range(13))


def test_images_and_labels_stay_together():
    x, y = Batches(numbered(), BATCH_SIZE, 0).at(4)
    assert x.shape == (8, 2, 2) and x.dtype == torch.float32 and y.dtype == torch.int64
    torch.testing.assert_close(x[:, 0, 0] * 255, y.float())
    x, y = numbered().between(50, 60)
    assert y.tolist() == [50, 51, 52]
    torch.testing.assert_close(x[:, 0, 0] * 255, y.float())


def test_pixels_become_zero_to_one():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1)
    images = Images(pixels, torch.zeros(3, dtype=torch.long))
    for x, _ in (images.between(0, 3), images.at(torch.arange(3))):
        assert x.flatten().tolist() == pytest.approx([0, 0.2, 1])
    assert pixels.flatten().tolist() == [0, 51, 255] and len(images) == 3


def test_a_batch_larger_than_the_set_is_refused():
    Batches(numbered(), NUM, 0)
    with pytest.raises(ValueError, match=f"train.batch_size={NUM + 1} is more than the {NUM} training examples"):
        Batches(numbered(), NUM + 1, 0)


@pytest.fixture
def thirty(monkeypatch):
    """Put thirty training and four test images, whose labels number them, where MNIST would be."""

    def split(num, first):
        labels = np.arange(first, first + num, dtype=np.uint8)
        return np.tile(np.array([[0, 127], [128, 255]], np.uint8), (num, 1, 1)), labels

    arrays = {"train": split(30, 0), "test": split(4, 100)}
    monkeypatch.setattr(images_module, "fetch", lambda name, folder: arrays)
    return arrays


def loaded(**changes):
    settings = {"name": "mnist", "evaluate_on": "test", "binarize_at": None, "validation_size": 10, "split_seed": 0}
    return load_images(dataclasses.replace(smoke().data, **(settings | changes)), CPU)


def test_test_set(thirty):
    training, evaluation = loaded()
    assert training.labels.tolist() == list(range(30)) and evaluation.labels.tolist() == [100, 101, 102, 103]
    assert training.labels.dtype == torch.int64 and training.pixels.dtype == torch.uint8


@pytest.mark.parametrize(
    "binarize_at, expected", [(None, [0, 127, 128, 255]), (0.5, [0, 0, 1, 1]), (0.0, [0, 1, 1, 1]), (0.6, [0, 0, 0, 1])]
)
def test_pixels_above_the_threshold_are_one(thirty, binarize_at, expected):
    for images in loaded(binarize_at=binarize_at):
        assert images.pixels[0].flatten().tolist() == expected
        x, _ = images.between(0, 1)
        assert x.flatten().tolist() == pytest.approx([pixel / (255 if binarize_at is None else 1) for pixel in expected])
        assert torch.equal(images.at(torch.tensor([0]))[0], x) and torch.equal(images.first(1).between(0, 1)[0], x)
    assert thirty["train"][0][0].flatten().tolist() == [0, 127, 128, 255]  # the cached arrays are untouched


def test_the_threshold_in_bytes_is_the_one_in_float64_for_every_grey_level():
    """At and beside every threshold where a pixel changes sides, at the ends of what is allowed, and in between."""
    levels = np.arange(256) / 255
    thresholds = np.concatenate([levels, np.nextafter(levels, 0), np.nextafter(levels, 1), np.random.default_rng(0).random(500), [5e-324]])
    grey = np.arange(256, dtype=np.uint8)
    for threshold in thresholds[(thresholds >= 0) & (thresholds < 1)].tolist():
        expected = np.where(grey.astype(np.float64) > 255 * threshold, 1, 0)
        assert np.array_equal(binarized(grey, threshold), expected), threshold
    assert binarized(grey, 0.5).dtype == np.uint8


def test_validation_is_cut_from_training_by_seed(thirty):
    training, evaluation = loaded(evaluate_on="validation")
    assert sorted(training.labels.tolist() + evaluation.labels.tolist()) == list(range(30)) and len(evaluation) == 10
    again = loaded(evaluate_on="validation")
    assert torch.equal(again[0].labels, training.labels) and torch.equal(again[1].labels, evaluation.labels)
    assert not torch.equal(loaded(evaluate_on="validation", split_seed=1)[1].labels, evaluation.labels)


def test_synthetic_images_are_the_same_everywhere_and_learnable():
    arrays, again = synthetic_patterns((28, 28)), synthetic_patterns((28, 28))
    for split, num in (("train", 1200), ("test", 600)):
        pixels, labels = arrays[split]
        assert pixels.shape == (num, 28, 28) and pixels.dtype == labels.dtype == np.uint8
        assert np.array_equal(pixels, again[split][0]) and np.array_equal(labels, again[split][1])
        assert set(labels.tolist()) == set(range(10))
    (train_x, train_y), (test_x, test_y) = arrays["train"], arrays["test"]
    means = np.stack([train_x[train_y == label].mean(0) for label in range(10)]).reshape(10, -1)
    distances = ((test_x.reshape(600, 1, -1) - means) ** 2).mean(-1)
    assert (distances.argmin(1) == test_y).mean() > 0.9
    assert not np.array_equal(train_x[:600], test_x)


def test_synthetic_config_loads():
    training, evaluation = load_images(smoke().data, CPU)
    assert (len(training), len(evaluation)) == (1200, 600) and set(training.pixels.unique().tolist()) == {0, 1}
