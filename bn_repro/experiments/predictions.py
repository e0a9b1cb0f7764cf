"""What a trained network says of the first test images, kept so that any networks can be averaged afterwards (section 4.2.3)."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bn_repro.data.crops import crops_of, mean_probabilities
from bn_repro.data.images import Images
from bn_repro.experiments.tasks import Poll
from bn_repro.norms.modes import evaluating
from bn_repro.records.reading import CROPS, LABELS, ROOT_OF_ONE, SINGLE


def predictions(network: nn.Module, images: Images, scales: Sequence[int], batch_size: int, poll: Poll) -> dict[str, np.ndarray]:
    """Return what `read_predictions` reads, labels (N,) and probabilities (N, classes): of the images as they are, and averaged over crops.

    Args:
        scales: shorter sides to which images are resampled for crops of their own size; none makes no crops.
    """
    found: dict[str, list[Tensor]] = {SINGLE: [], CROPS: []}
    with evaluating(network):
        for x, _ in images.in_batches(batch_size):
            poll()
            found[SINGLE].append(mean_probabilities(network, iter([x])))
            if scales:
                found[CROPS].append(mean_probabilities(network, polled(crops_of(x, x.shape[2], scales), poll)))
    arrays = {name: in_bytes(torch.cat(parts)) for name, parts in found.items() if parts}
    return {LABELS: images.labels.cpu().numpy().astype(np.int32), **arrays}


def in_bytes(probabilities: Tensor) -> np.ndarray:
    return (ROOT_OF_ONE * probabilities.double().sqrt()).round().cpu().numpy().astype(np.uint8)


def polled(crops: Iterator[Tensor], poll: Poll) -> Iterator[Tensor]:
    for crop in crops:
        poll()
        yield crop
