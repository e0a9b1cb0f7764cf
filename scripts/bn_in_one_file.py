"""Batch Normalization in one file: section 4.1 of Ioffe & Szegedy 2015 with and without BN, over torch and torchvision alone.

    python scripts/bn_in_one_file.py                    # MNIST, 50,000 steps of each, 2 minutes on one core; draws Figure 1
    python scripts/bn_in_one_file.py --steps 5000 --lr 0.1

Three layers of 100 sigmoids on binary images, SGD on batches of 60. At learning rate 1, the plain network's best, BN ends a few
tenths of a percentage point higher; at a tenth of it both arrive late, and BN is far ahead. No line of the package is used.
"""

import argparse
import copy
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.datasets import MNIST

BATCH_SIZE, POPULATION_BATCHES, PROBE_SIZE = 60, 500, 500
COLOURS = {"without BN": "#D55E00", "with BN": "#0072B2"}


class BatchNorm(nn.Module):
    """Algorithm 1 in training, the last line of Algorithm 2 at inference, both for x of shape (m, features)."""

    def __init__(self, features: int, eps: float = 1e-5, decay: float = 0.9):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.population_mean, self.population_var = torch.zeros(features), torch.ones(features)
        self.eps, self.decay = eps, decay

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean, var = x.mean(0), x.var(0, correction=0)  # autograd differentiates both, which section 2 shows to be necessary
            self.population_mean = self.decay * self.population_mean + (1 - self.decay) * mean.detach()  # for accuracies on the way
            self.population_var = self.decay * self.population_var + (1 - self.decay) * (var.detach() * len(x) / (len(x) - 1))
        else:
            mean, var = self.population_mean, self.population_var
        return self.gamma * (x - mean) / torch.sqrt(var + self.eps) + self.beta


@torch.no_grad()
def estimate_population_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Algorithm 2: with frozen parameters, E[x] is the mean of mu_B over training batches, Var[x] that of m/(m-1) var_B."""
    network.train()
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    for number, x in enumerate(batches):
        for norm in norms:
            norm.decay = number / (number + 1)  # makes a moving average the mean of all so far
        network(x)


def build_network(has_bn: bool, std: float, seed: int) -> nn.Sequential:
    """Build z = g(BN(W u)), or z = g(W u + b): BN's beta subsumes the bias b."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in in (28 * 28, 100, 100):
        layers += [nn.Linear(fan_in, 100, bias=not has_bn), *([BatchNorm(100)] if has_bn else []), nn.Sigmoid()]
    layers.append(nn.Linear(100, 10))
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network.eval()
    return (network(x).argmax(1) == y).double().mean().item()


@torch.no_grad()
def percentiles(network: nn.Sequential, x: Tensor) -> Tensor:
    """Return the 15, 50 and 85 percentiles of the input to each sigmoid of the last hidden layer, by x's own statistics."""
    below = copy.deepcopy(network[:-2]).train()  # a copy, so that x does not move the averages
    return torch.quantile(below(x), torch.tensor([0.15, 0.5, 0.85]), dim=0)  # (3, 100)


def draw_batches(num_examples: int, seed: int) -> Iterator[Tensor]:
    """Yield the indices of one batch after another; each epoch is a new permutation."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(num_examples, generator=generator)[: num_examples // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE)


def train(network: nn.Module, x: Tensor, y: Tensor, batches: Iterator[Tensor], lr: float, steps: int, every: int) -> Iterator[int]:
    """Make `steps` steps of SGD; yield the step before the first, every so many, and after the last."""
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    for step in range(steps):
        if step % every == 0:
            yield step
        network.train()
        index = next(batches)
        loss = cross_entropy(network(x[index]), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    yield steps


def svg_panel(left: float, title: str, curves: list[tuple[list[float], str]], low: float, high: float, steps: int) -> str:
    """Draw curves (values at evenly spread steps, colour) in a frame of 260 by 200, from `low` to `high`."""
    parts = [f'<rect x="{left}" y="30" width="260" height="200" fill="none" stroke="#999"/>']
    for curve, colour in curves:
        width, height = 260 / (len(curve) - 1), 200 / (high - low)
        points = " ".join(f"{left + width * place:.1f},{230 - height * (max(value, low) - low):.1f}" for place, value in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    below = ((left, "0"), (left + 130, "training steps"), (left + 260, f"{steps}"))
    words = [(left + 130, 20, "middle", title), *((x, 245, "middle", text) for x, text in below)]
    words += [(left - 5, y, "end", f"{value:.3g}") for y, value in ((234, low), (34, high))]
    return "\n".join([*parts, *(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>' for x, y, anchor, text in words)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    defaults = {"steps": 50_000, "lr": 1.0, "std": 0.1, "seed": 0, "folder": "data", "figure": "bn_in_one_file.svg"}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default}")
    chosen = parser.parse_args()
    if chosen.steps < 1 or not Path(chosen.figure).parent.is_dir() or not chosen.figure.endswith(".svg"):
        parser.error("--steps must be at least 1, and --figure an .svg in a folder that is there")
    torch.set_num_threads(1)  # more do not pay for layers of 100 units
    torch.set_flush_denormal(True)  # sigmoid networks without BN make denormals, which are slow
    splits = [MNIST(chosen.folder, train=is_train, download=True) for is_train in (True, False)]
    (x, y), (test_x, test_y) = (((split.data > 127).float(), split.targets) for split in splits)
    accuracies, inputs = ({label: [] for label in COLOURS} for _ in range(2))
    for label in COLOURS:
        network, batches = build_network(label == "with BN", chosen.std, chosen.seed), draw_batches(len(x), chosen.seed)
        for step in train(network, x, y, batches, chosen.lr, chosen.steps, max(chosen.steps // 50, 1)):
            accuracies[label].append(accuracy(network, test_x, test_y))
            inputs[label].append(percentiles(network, test_x[:PROBE_SIZE])[:, 0])  # of the first sigmoid
            print(f"{label}, step {step}: test accuracy {100 * accuracies[label][-1]:.2f} %", flush=True)
    estimate_population_statistics(network, (x[next(batches)] for _ in range(POPULATION_BATCHES)))
    print(f"{label}, by Algorithm 2's population statistics: {100 * accuracy(network, test_x, test_y):.2f} %")
    curves = [(accuracies[label], colour) for label, colour in COLOURS.items()]
    panels = [svg_panel(50, "(a) test accuracy", curves, min(0.7, *(curve[-1] for curve, _ in curves)), 1, chosen.steps)]
    limit = max(float(torch.stack(values).abs().max()) for values in inputs.values())
    for left, letter, (label, colour) in zip((380, 710), "bc", COLOURS.items()):
        curves = [(curve, colour) for curve in torch.stack(inputs[label], 1).tolist()]
        panels.append(svg_panel(left, f"({letter}) {label}: 15, 50 and 85 percentiles into a sigmoid", curves, -limit, limit, chosen.steps))
    opening = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 260" font-family="sans-serif" font-size="11">'
    Path(chosen.figure).write_text("\n".join([opening, *panels, "</svg>\n"]))
    print(f"figure: {chosen.figure}")


if __name__ == "__main__":
    main()
