"""What a run on images learns, and which of the paper's exact statements its trained network is asked for."""

from typing import Any

import torch
from torch import nn

from bn_repro.config import Config
from bn_repro.config.images import of_images
from bn_repro.data.examples import Examples, TrainingBatches
from bn_repro.data.image_folder import FolderBatches, FolderImages, load_image_folder
from bn_repro.data.images import Batches, Images, load_images
from bn_repro.experiments.predictions import predictions
from bn_repro.experiments.tasks import Poll, Task
from bn_repro.networks import build_network
from bn_repro.probes import folding_error, scale_invariance_errors
from bn_repro.records import files
from bn_repro.records.packing import packed
from bn_repro.records.record import run_folder
from bn_repro.training.distributed import num_ranks, rank
from bn_repro.training.loop import evaluate

IDENTITY_SCALE = 10.0  # the factor a of section 3.3


def image_task(config: Config, device: torch.device) -> Task:
    """Build the network, this rank's training batches and the images that accuracy is measured on.

    Raises:
        OSError: the dataset is nowhere to be had.
    """
    (data, settings), batch_size, seed = of_images(config), config.train.batch_size, config.seed
    training: Examples
    images: Images | FolderImages
    batches: TrainingBatches
    if data.name == "image_folder":
        in_folder, images = load_image_folder(data, device)
        training, batches = in_folder, FolderBatches(in_folder, batch_size, seed, rank(), num_ranks(), is_reshuffled=data.is_reshuffled)
    else:
        in_memory, images = load_images(data, device)
        training, batches = (
            in_memory,
            Batches(
                in_memory,
                batch_size,
                seed,
                data.crop_padding,
                data.has_flips,
                rank(),
                num_ranks(),
                colour_jitter=data.colour_jitter,
                is_reshuffled=data.is_reshuffled,
            ),
        )

    def closing_measures(network: nn.Module, loss: float, poll: Poll) -> dict[str, Any]:
        x, _ = images.between(0, config.probe.batch_size)
        errors = scale_invariance_errors(network, x, IDENTITY_SCALE, torch.Generator().manual_seed(seed))
        num_folded, error = folding_error(network, x)
        measures = {"scale_invariance": errors, "num_folded": num_folded, "folding_error": error}
        if data.evaluate_training is not None:
            learnt = training.first(data.evaluate_training)
            measures["training_accuracy"] = evaluate(network, learnt, poll, data.evaluate_batch).accuracy
        if data.kept_predictions is not None:
            assert isinstance(images, Images)
            kept = predictions(network, images.first(data.kept_predictions), data.crop_scales, data.evaluate_batch, poll)
            if rank() == 0:
                files.write_atomically(run_folder(config) / files.PREDICTIONS, packed(kept))
        return measures

    network = build_network(settings, images.shape, data.num_classes, seed).to(device)
    return Task(network, batches, images, closing_measures)
