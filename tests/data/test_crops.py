"""Are the crops those of GoogLeNet: 144 of an image that is no square, each where it belongs?"""

import pytest
import torch
from torch import nn

from bn_repro.data.crops import crops_of, mean_probabilities

GOOGLENET_SIZE, GOOGLENET_SCALES = 224, (256, 288, 320, 352)


def coordinates(height, width):
    """Return an image (1, 2, H, W) whose colours are each pixel's row and column."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns])[None].double()


def test_googlenets_144_crops():
    crops = list(crops_of(coordinates(256, 384), GOOGLENET_SIZE, GOOGLENET_SCALES))
    assert len(crops) == 4 * 3 * 6 * 2 == 144 and all(crop.shape == (1, 2, 224, 224) for crop in crops)
    # At the first scale nothing is resampled: squares begin at column 0, 64 and 128, crops of them at 0, 32 and, in the middle, 16.
    starts = [tuple(crop[0, :, 0, 0].int().tolist()) for crop in crops[:36:2]]
    corners = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
    for number, square in enumerate((0, 64, 128)):
        assert starts[6 * number : 6 * number + 5] == [(top, square + left) for top, left in corners]
    assert all(torch.equal(mirrored, crop.flip(3)) for crop, mirrored in zip(crops[::2], crops[1::2]))
    whole = crops[10][0]  # the first square, all of it: its middle stays where it was
    assert whole[:, 111:113, 111:113].mean((1, 2)).tolist() == pytest.approx([127.5, 127.5], abs=0.01)
    assert whole[0, -1, 0] > 254 and whole[1, 0, -1] > 254


def test_tall_images_have_their_squares_below_each_other():
    crops = list(crops_of(coordinates(10, 4), 4, (4,)))
    assert len(crops) == 3 * 6 * 2
    assert [crop[0, 0, 0, 0].item() for crop in crops[::12]] == [0, 3, 6]


def test_squares_of_a_square_image_are_one():
    assert len(list(crops_of(coordinates(8, 8), 8, (9, 10)))) == 2 * 6 * 2


def test_a_scale_below_the_size_is_refused():
    with pytest.raises(ValueError, match="a crop of 8 pixels does not fit into a shorter side of 7"):
        next(crops_of(coordinates(8, 8), 8, (9, 7)))


def test_probabilities_are_averaged_not_logits():
    logits = torch.tensor([[0.0, 2.0], [4.0, 0.0]])
    crops = iter([torch.eye(2)[:1], torch.eye(2)[1:]])
    network = nn.Linear(2, 2, bias=False)
    network.weight.data = logits.T
    expected = logits.softmax(1).mean(0)
    torch.testing.assert_close(mean_probabilities(network, crops)[0], expected)
