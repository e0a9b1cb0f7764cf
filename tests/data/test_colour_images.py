"""Colour images: standardized, shifted and mirrored as a pure function of (seed, step)."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.v2 import functional

from bn_repro.data.images import Batches, Images, shifted_and_flipped, with_other_colours


@pytest.fixture
def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20, 8, 8, 3), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(20), torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.1, 0.3]))


def test_colours_are_standardized_by_channel_and_come_in_channels_last(images):
    x, _ = images.between(0, 4)
    assert x.shape == (4, 3, 8, 8) and images.shape == (3, 8, 8)
    assert x.is_contiguous(memory_format=torch.channels_last)
    expected = (images.pixels[2, 5, 6, 1].item() / 255 - 0.4) / 0.1
    assert x[2, 1, 5, 6].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("down, right", [(0, 0), (2, -3), (-4, 4)])
@pytest.mark.parametrize("is_flipped", [False, True])
def test_a_shift_is_a_crop_of_the_padded_image(images, down, right, is_flipped):
    found = shifted_and_flipped(images.pixels, torch.tensor([3]), torch.tensor([[down], [right]]), torch.tensor([is_flipped]))[0]
    padded = F.pad(images.pixels[3].permute(2, 0, 1), (4, 4, 4, 4))
    expected = padded[:, 4 + down : 12 + down, 4 + right : 12 + right]
    assert torch.equal(found.permute(2, 0, 1), expected.flip(2) if is_flipped else expected)


def test_grey_images_shift_too():
    pixels = torch.arange(2 * 3 * 3, dtype=torch.uint8).view(2, 3, 3)
    found = shifted_and_flipped(pixels, torch.tensor([1, 0]), torch.tensor([[1, 0], [0, 0]]), torch.tensor([False, True]))
    assert found.tolist() == [[[12, 13, 14], [15, 16, 17], [0, 0, 0]], [[2, 1, 0], [5, 4, 3], [8, 7, 6]]]


def test_augmentation_is_a_function_of_seed_and_step_alone(images):
    def make(seed: int) -> Batches:
        return Batches(images, 10, seed, crop_padding=2, has_flips=True)

    in_order = [make(0).at(step)[0] for step in range(4)]
    batches = make(0)
    for step in (3, 1, 0, 2):
        assert torch.equal(batches.at(step)[0], in_order[step])
    assert not torch.equal(make(1).at(0)[0], in_order[0])


def test_shifts_and_flips_are_spread_evenly(images):
    marked = Images(torch.zeros(1000, 5, 5, dtype=torch.uint8), torch.zeros(1000, dtype=torch.int64))
    marked.pixels[:, 2, 1] = 255
    x, _ = Batches(marked, 1000, 0, crop_padding=1, has_flips=True).at(0)
    places = x.mean(0)  # the mark is at row 2 - shift; at column 1 - shift, or mirrored at 3 + shift
    assert places[1:4].sum(1).tolist() == pytest.approx([1 / 3] * 3, abs=0.06)
    assert places.sum(0).tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 6, 1 / 6], abs=0.06)


def test_colours_change_as_torchvision_changes_them(images):
    factors = torch.tensor([[0.7, 1.3, 1.0], [1.2, 0.6, 1.0], [0.5, 1.4, 1.0]])
    found = with_other_colours(images.pixels[:3], factors) / 255
    for number, (brightness, contrast, saturation) in enumerate(factors.T.tolist()):
        expected = functional.adjust_brightness(images.pixels[number].permute(2, 0, 1) / 255, brightness)
        expected = functional.adjust_saturation(functional.adjust_contrast(expected, contrast), saturation)
        torch.testing.assert_close(found[number].permute(2, 0, 1), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(found[2], images.pixels[2] / 255)


def test_colours_are_a_function_of_seed_and_step_and_leave_the_rest(images):
    def make(colour_jitter: float, **part: int) -> Batches:
        return Batches(images, 10, 3, crop_padding=2, has_flips=True, colour_jitter=colour_jitter, **part)

    assert torch.equal(make(0.4).at(5)[0], make(0.4).at(5)[0])
    assert not torch.equal(make(0.4).at(5)[0], make(0.2).at(5)[0])
    torch.testing.assert_close(make(1e-9).at(5)[0], make(0.0).at(5)[0], atol=1e-4, rtol=1e-4)  # the same shifts and mirrors
    x, y = make(0.4, rank=1, num_ranks=2).at(5)
    assert torch.equal(x, make(0.4).at(5)[0][1::2]) and torch.equal(y, make(0.4).at(5)[1][1::2])


def test_images_that_are_not_reshuffled_meet_again(images):
    fixed, fresh = (Batches(images, 10, 0, is_reshuffled=is_reshuffled) for is_reshuffled in (False, True))
    assert torch.equal(fixed.at(0)[1], fresh.at(0)[1]) and torch.equal(fixed.at(0)[1], fixed.at(6)[1])
    assert not torch.equal(fresh.at(0)[1], fresh.at(6)[1])
