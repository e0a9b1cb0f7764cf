"""The many crops of an image over which GoogLeNet averages its predictions: scales, squares, crops, mirrors (section 4.2.3)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def crops_of(x: Tensor, size: int, scales: Sequence[int]) -> Iterator[Tensor]:
    """Yield crops (N, C, size, size) of images (N, C, H, W), as floats: of each scale each square's six, and each of these mirrored.

    A scale is the shorter side after bilinear resampling. The squares are the first, the middle and the last along the longer side; of
    square images they are one. Of each square come its corners, its middle, and the whole square resampled to `size`.

    Raises:
        ValueError: a scale is smaller than a crop.
    """
    if min(scales) < size:
        raise ValueError(f"a crop of {size} pixels does not fit into a shorter side of {min(scales)}")
    height, width = x.shape[2:]
    for scale in scales:
        sides = [round(side * scale / min(height, width)) for side in (height, width)]
        resampled = resample(x, sides)
        for square in squares_of(resampled, scale):
            for crop in (*corners_and_middle(square, size), resample(square, [size, size])):
                yield crop
                yield crop.flip(3)


def resample(x: Tensor, sides: Sequence[int]) -> Tensor:
    return x if list(x.shape[2:]) == list(sides) else F.interpolate(x, list(sides), mode="bilinear", antialias=True)


def squares_of(x: Tensor, side: int) -> list[Tensor]:
    height, width = x.shape[2:]
    if height == width:
        return [x]
    longer = max(height, width)
    starts = (0, (longer - side) // 2, longer - side)
    return [x.narrow(2 if height > width else 3, start, side) for start in starts]


def corners_and_middle(x: Tensor, size: int) -> list[Tensor]:
    end = x.shape[2] - size
    places = ((0, 0), (0, end), (end, 0), (end, end), (end // 2, end // 2))
    return [x[:, :, top : top + size, left : left + size] for top, left in places]


@torch.no_grad()
def mean_probabilities(network: torch.nn.Module, crops: Iterator[Tensor]) -> Tensor:
    """Return (N, classes), the arithmetic mean over crops of what the network takes for the chance of each class."""
    total, number = 0, 0
    for crop in crops:
        total = total + network(crop).softmax(1)
        number += 1
    return total / number
