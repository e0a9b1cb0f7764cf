"""Are images of a folder what PIL and timm make of them, in batches that depend on (seed, step) alone?"""

import dataclasses
import itertools
import random
import shutil

import numpy as np
import pytest
import torch
from made_up_images import NUM_TRAINING, NUM_VALIDATION, imagenet_config, write_image_folder
from PIL import Image

from bn_repro.checks.runs import check
from bn_repro.data.fetch import DataUnavailable
from bn_repro.data.image_folder import FolderBatches, keys_from, load_image_folder
from bn_repro.experiments import supervised
from bn_repro.records.record import FINISHED, Run, run_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_image_folder(tmp_path_factory.mktemp("images"))


def data_config(folder, **changes):
    return dataclasses.replace(imagenet_config(folder, folder, "arm=inception").data, **changes)


def batches(folder, seed=0, rank=0, num_ranks=1, **changes):
    return FolderBatches(load_image_folder(data_config(folder, **changes), CPU)[0], 8, seed, rank, num_ranks)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_depends_on_seed_and_step_alone(folder):
    """In any order of asking, whatever was drawn before, decoded here or ahead by other processes."""
    ours = batches(folder)
    steps = [ours.at(step) for step in range(5)]  # two epochs of three batches
    for step in (4, 1, 2):
        random.seed(step)
        torch.manual_seed(step)
        assert same(batches(folder).at(step), steps[step]) and same(ours.at(step), steps[step])
    ahead = batches(folder, workers=1)
    assert all(same(ahead.at(step), steps[step]) for step in (0, 1, 2))
    assert not same(batches(folder, seed=1).at(0), steps[0])
    assert not any(torch.equal(steps[0][0][i], steps[3][0][j]) for i in range(8) for j in range(8))  # other crops in the next epoch


def test_batches_leave_no_trace_in_the_generators(folder):
    random.seed(3)
    torch.manual_seed(3)
    before = random.getstate(), torch.get_rng_state()
    batches(folder).at(0)
    batches(folder, workers=1).at(0)
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])


def test_ranks_share_a_batch(folder):
    whole = batches(folder).at(1)
    parts = [batches(folder, rank=rank, num_ranks=4).at(1) for rank in range(4)]
    for rank, part in enumerate(parts):
        assert same(part, [tensor[rank::4] for tensor in whole])


def test_an_epoch_shows_no_image_twice(folder):
    keys = [key for batch in itertools.islice(batches(folder).keys_from(0), 2 * (NUM_TRAINING // 8)) for key in batch]
    assert len(set(keys)) == len(keys) == 2 * 24 and [epoch for epoch, _ in keys] == [0] * 24 + [1] * 24


def test_an_epoch_that_is_not_reshuffled_has_the_same_batches(folder):
    found = batches(folder)
    keys = [key for batch in itertools.islice(keys_from(NUM_TRAINING, 8, found.seed, slice(None), False, 0), 6) for key in batch]
    assert [index for _, index in keys[:24]] == [index for _, index in keys[24:48]] and [epoch for epoch, _ in keys[24:48]] == [1] * 24


def test_evaluation_takes_one_central_crop(folder):
    """By hand: the shorter side to 64 / 0.875 = 73 pixels, the middle 64x64, colours standardized."""
    _, images = load_image_folder(data_config(folder), CPU)
    x, y = images.between(2, 5)
    assert x.shape == (3, 3, 64, 64) and x.is_contiguous(memory_format=torch.channels_last)
    for number in range(3):
        path, label = images.samples[2 + number]
        assert f"class_{label}" in path and y[number] == label
        image = Image.open(path).convert("RGB")
        ratio = 73 / min(image.size)
        image = image.resize([int(ratio * side) for side in image.size], Image.Resampling.BICUBIC)
        left, top = (round((side - 64) / 2) for side in image.size)
        pixels = np.asarray(image.crop((left, top, left + 64, top + 64))) / 255
        expected = torch.from_numpy((pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).permute(2, 0, 1)
        torch.testing.assert_close(x[number].double(), expected, rtol=0, atol=1e-5)


def test_evaluation_shards_cover_every_image_once(folder):
    _, images = load_image_folder(data_config(folder), CPU)
    whole = [y for _, y in images.in_batches(4)]
    assert [len(y) for y in whole] == [4, 4, 3]
    shards = [[y for _, y in images.in_batches(4, rank, 4)] for rank in range(4)]
    assert [len(y) for y in shards[3]] == [1, 1, 0]  # the last batch has no fourth image, and all have three batches
    for number, y in enumerate(whole):
        assert torch.equal(torch.cat([shard[number] for shard in shards]), y)
    assert len(images.first(5)) == 5 and len(images) == NUM_VALIDATION


def test_validation_images_are_cut_from_the_training_folder(folder):
    training, held_out = load_image_folder(data_config(folder, evaluate_on="validation", validation_size=6), CPU)
    assert len(training) == NUM_TRAINING - 6 and len(held_out) == 6
    assert not {path for path, _ in training.samples} & {path for path, _ in held_out.samples}
    assert all("/train/" in path for path, _ in held_out.samples)


def test_distortions_are_of_the_asked_strength(folder):
    plain, distorted = (batches(folder, colour_jitter=strength).at(0)[0] for strength in (0.0, 0.4))
    assert not torch.equal(plain, distorted)
    jitters = {arm: imagenet_config(folder, folder, f"arm={arm}").data.colour_jitter for arm in ("inception", "bn_baseline", "bn_x5")}
    assert jitters == {"inception": 0.4, "bn_baseline": 0.4, "bn_x5": 0.2}  # section 4.2.1: reduced


def test_mistakes_in_the_folder_are_named(folder, tmp_path):
    with pytest.raises(DataUnavailable, match=r"no images in .*/train; put or link ImageNet there as .*<class>/<image>.JPEG"):
        load_image_folder(data_config(tmp_path), CPU)
    with pytest.raises(ValueError, match="data.num_classes=1000, but .* has 3 classes"):
        load_image_folder(data_config(folder, num_classes=1000), CPU)
    with pytest.raises(ValueError, match="train.batch_size=27 is more than the 26 training examples"):
        FolderBatches(load_image_folder(data_config(folder), CPU)[0], 27, 0)
    other = shutil.copytree(folder, tmp_path / "other")
    shutil.rmtree(other / "val" / "class_2")
    with pytest.raises(ValueError, match="different classes"):
        load_image_folder(data_config(other), CPU)
    shutil.copytree(folder / "val" / "class_2", other / "val" / "class_2")
    damaged = next((other / "train" / "class_0").iterdir())
    damaged.write_bytes(b"no image")
    with pytest.raises(OSError, match=f"{damaged}: "):
        for step in range(6):
            batches(other).at(step)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"crop_padding": 4}, "data.crop_padding=4 has no effect on data.name=image_folder"),
        ({"image_size": None}, "needs data.image_size"),
        ({"name": "cifar10", "colour_jitter": 0.0}, "data.image_size=64 has no effect on data.name=cifar10"),
    ],
)
def test_knobs_without_effect_are_refused(folder, changes, told):
    config = imagenet_config(folder, folder, "arm=inception")
    with pytest.raises(ValueError, match=told):
        check(dataclasses.replace(config, data=dataclasses.replace(config.data, **changes)))


@pytest.mark.parametrize("arm", ["inception", "bn_x30"])
def test_the_tier_runs(folder, tmp_path, arm, restored_torch_settings):
    config = imagenet_config(folder, tmp_path, f"arm={arm}")
    summary = supervised.run(config)
    assert summary["status"] == FINISHED and [row["step"] for row in Run(run_folder(config)).metrics] == [0, 4, 8]
    environment = Run(run_folder(config)).environment
    assert (environment["num_ranks"], environment["batch_per_rank"], environment["batch_of_a_norm"]) == (1, 8, 8)
