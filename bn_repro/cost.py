"""What runs would cost before they are done: images, arithmetic, and hours at a given speed."""

from collections.abc import Sequence

from bn_repro.config import Config


def projected_cost(configs: Sequence[Config], images_per_second: float | None) -> list[str]:
    """Say a line a run and one of all: training images, FLOPs (two a multiply-add), hours. Evaluations are not counted.

    Args:
        images_per_second: of the training on all devices together, where known.
    """
    lines, total_images, total_flops = [], 0, 0
    for config in configs:
        images = config.train.steps * config.train.batch_size
        forward, training = flops_of_an_image(config)
        lines.append(f"{config.arm}: {forward / 2e6:,.0f} M multiply-adds; {amounts(images, images * training, images_per_second)}")
        total_images, total_flops = total_images + images, total_flops + images * training
    lines.append(f"together: {amounts(total_images, total_flops, images_per_second)}")
    if images_per_second is None:
        lines.append("hours unknown; give --images-per-second X: what a short run shows as steps a second, times train.batch_size")
    return lines


def amounts(images: int, flops: int, images_per_second: float | None) -> str:
    hours = f", {images / images_per_second / 3600:,.0f} hours" if images_per_second else ""
    return f"{images:,} images, {flops:.3g} FLOPs{hours}"


def flops_of_an_image(config: Config) -> tuple[int, int]:
    """Return the FLOPs of convolutions and classifier in a forward pass, and in a training step; nothing is computed or stored."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from bn_repro.networks import build_network

    shape = (3, config.data.image_size, config.data.image_size)
    with torch.device("meta"):
        network = build_network(config.network, shape, config.data.num_classes, config.seed)
        x = torch.zeros(1, *shape)
    with FlopCounterMode(display=False) as forward:
        loss = network(x).sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()
