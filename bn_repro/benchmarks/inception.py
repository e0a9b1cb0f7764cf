"""What our form of Inception gains over the same network written plainly: in training, with its data, folded, on a GPU."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bn_repro.benchmarks.timing import Comparison, Work, ratios
from bn_repro.config import Config
from bn_repro.config.images import InceptionConfig, of_images
from bn_repro.data.images import Batches, Images
from bn_repro.networks import Inception, build_network
from bn_repro.networks.inception_weights import match_reductions
from bn_repro.norms import fold_batch_norms

NUM_CLASSES = 10


def compare_inception(config: Config, images: Images, rounds: int, steps: int = 4) -> Iterator[Comparison]:
    """Yield the rows of the small Inception on a CPU.

    Args:
        config: of a run with BN.
        steps: training steps of one round.
    """
    data, settings = of_images(config)
    ours = build_network(settings, images.shape, NUM_CLASSES, config.seed)
    theirs = written_plainly(ours, config)
    x, y = images.between(0, config.train.batch_size)
    same = itertools.repeat((x, y))
    found = ratios(training(theirs, config, itertools.repeat((x.contiguous(), y)), steps), training(ours, config, same, steps), rounds)
    yield Comparison("forward, backward and step", "NCHW, branch by branch", found, 1.25, is_speedup=True)

    batches = Batches(images, config.train.batch_size, config.seed, data.crop_padding, data.has_flips)
    ours_with_data = training(ours, config, map(batches.at, itertools.count()), steps)
    found = ratios(training(theirs, config, loaded_plainly(images, config), steps), ours_with_data, rounds)
    yield Comparison("the same with its data", "... and a DataLoader of PIL images", found, 1.3, is_speedup=True)

    folded = fold_batch_norms(ours.eval())
    # A single image waits for launches, which folding saves; many wait for convolutions, which it does not.
    for num_images, repeats in ((1, 10), (100, 1)):
        x, _ = images.between(0, num_images)
        with torch.inference_mode():
            torch.testing.assert_close(folded(x), ours(x), rtol=1e-3, atol=1e-3)
        found = ratios(inference(ours, x, repeats), inference(folded, x, repeats), rounds)
        yield Comparison(f"inference with folded norms, {num_images} at a time", "unfolded", found, 1.15, is_speedup=True)


def written_plainly(network: Inception, config: Config) -> Inception:
    """Return the network of the same weights with a layer for each branch, torch's own batch norms, in NCHW."""
    _, settings = of_images(config)
    assert isinstance(settings, InceptionConfig)
    settings = dataclasses.replace(settings, merge_reductions=False)
    plain = build_network(settings, (3, 32, 32), NUM_CLASSES, config.seed).to(memory_format=torch.contiguous_format)
    plain.load_state_dict(match_reductions(network.state_dict(), plain))
    for name, module in list(plain.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            plain.set_submodule(name, nn.BatchNorm2d(module.num_features, module.eps, module.momentum))
    return plain


def training(network: nn.Module, config: Config, batches: Iterator[tuple[Tensor, Tensor]], steps: int) -> Work:
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=config.train.momentum)

    def work() -> None:
        for x, y in itertools.islice(batches, steps):
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return work


class PilImages(Dataset):
    """Images one by one, with torchvision's transforms."""

    def __init__(self, images: Images, transform: Callable):
        from PIL import Image

        self.pictures = [Image.fromarray(pixels) for pixels in images.pixels.numpy()]
        self.labels, self.transform = images.labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.pictures[index]), self.labels[index]


def loaded_plainly(images: Images, config: Config) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches without end from a DataLoader in this process, since both sides have one thread."""
    from torchvision import transforms

    padding = of_images(config)[0].crop_padding
    steps = [transforms.RandomCrop(images.shape[-1], padding), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    if images.mean is not None and images.std is not None:
        steps.append(transforms.Normalize(images.mean.tolist(), images.std.tolist()))
    loader = DataLoader(PilImages(images, transforms.Compose(steps)), config.train.batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def inference(network: nn.Module, x: Tensor, repeats: int) -> Work:
    def work() -> None:
        with torch.inference_mode():
            for _ in range(repeats):
                network(x)

    return work


def compare_on_gpu(rounds: int, steps: int = 20) -> Iterator[Comparison]:
    """Yield the rows of the full-width Inception on a GPU: a step of 32 small images, and training at 224x224."""
    from torchvision.models import googlenet

    def step(network: nn.Module, side: int, batch_size: int, mode: str | None) -> Work:
        network = network.to("cuda", memory_format=torch.channels_last)
        forward = torch.compile(network, mode=mode) if mode else network
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
        x = torch.randn(batch_size, 3, side, side, device="cuda").to(memory_format=torch.channels_last)
        y = torch.randint(NUM_CLASSES, (batch_size,), device="cuda")

        def work() -> None:
            for _ in range(steps):
                with torch.autocast("cuda", torch.bfloat16):
                    loss = F.cross_entropy(forward(x).float(), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        return work

    small = [Inception(NUM_CLASSES, stem="small", stem_stride=1) for _ in range(2)]
    eager, compiled = step(small[0], 32, 32, None), step(small[1], 32, 32, "reduce-overhead")
    found = ratios(eager, compiled, rounds, torch.cuda.synchronize)
    yield Comparison("step of 32 images, compiled, CUDA graphs", "eager; both bfloat16, channels_last", found, 2.0, is_speedup=True)
    theirs = step(googlenet(num_classes=NUM_CLASSES, aux_logits=False, init_weights=False), 224, 128, None)
    found = ratios(theirs, step(Inception(NUM_CLASSES), 224, 128, None), rounds, torch.cuda.synchronize)
    yield Comparison("images a second at 224x224", "torchvision's GoogLeNet, of a smaller Inception", found, 0.0, is_speedup=True)
