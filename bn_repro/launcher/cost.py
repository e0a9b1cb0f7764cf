"""What runs would cost before they are done: images, arithmetic, and hours at a given speed."""

from collections.abc import Sequence

from bn_repro.config import Config
from bn_repro.config.images import of_images

FLOPS_OF_A_MULTIPLY_ADD = 2
PASSES = 3  # forward, and a gradient in the inputs and in the weights of every layer, each as much


def projected_cost(configs: Sequence[Config], images_per_second: float | None) -> list[str]:
    """Say a line a run and one of all: training images, FLOPs, hours. Evaluations are not counted.

    Args:
        images_per_second: of the training on all devices together, where known.
    """
    lines, total_images, total_flops = [], 0, 0
    for config in configs:
        images = config.train.steps * config.train.batch_size
        forward = multiply_adds(config)
        flops = images * forward * FLOPS_OF_A_MULTIPLY_ADD * PASSES
        lines.append(f"{config.arm}: {forward / 1e6:,.0f} M multiply-adds; {amounts(images, flops, images_per_second)}")
        total_images, total_flops = total_images + images, total_flops + flops
    lines.append(f"together: {amounts(total_images, total_flops, images_per_second)}")
    if images_per_second is None:
        lines.append("hours unknown; give --images-per-second X: what a short run shows as steps a second, times train.batch_size")
    return lines


def amounts(images: int, flops: int, images_per_second: float | None) -> str:
    hours = f", {images / images_per_second / 3600:,.0f} hours" if images_per_second else ""
    return f"{images:,} images, {flops:.3g} FLOPs{hours}"


def multiply_adds(config: Config) -> int:
    """Count those of the convolutions and the classifier for one image; nothing is computed or stored."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from bn_repro.networks import build_network

    data, settings = of_images(config)
    assert data.image_size is not None
    shape = (3, data.image_size, data.image_size)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build_network(settings, shape, data.num_classes, config.seed)
        network(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2
