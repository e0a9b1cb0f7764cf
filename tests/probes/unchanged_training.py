"""Is training the same, bit for bit, with and without a measurement before each of its steps?"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bn_repro.norms import BatchNorm1d, BatchNorm2d, OutsideGradientNorm

Measurement = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], object]


class Convolutional(nn.Module):
    """A network with what a measurement could disturb: running statistics, dropout, an in-place ReLU, a frozen weight."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), OutsideGradientNorm(8)
        self.relu, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.fc1, self.bn3, self.fc2 = nn.Linear(8, 6), BatchNorm1d(6), nn.Linear(6, 4)
        self.fc2.bias.requires_grad_(False)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        return self.fc2(self.relu(self.bn3(self.fc1(self.drop(x.mean((2, 3)))))))


def trained(measure: Measurement | None, around: Callable[[nn.Module], AbstractContextManager] = nullcontext) -> dict[str, Tensor]:
    """Return all that a few steps of SGD leave behind: parameters, gradients, buffers, momenta, modes, random state."""
    torch.manual_seed(0)
    network = Convolutional().train()
    network.bn1.eval()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1, momentum=0.9, weight_decay=1e-3)
    drawn = torch.Generator().manual_seed(1)
    x, y = torch.randn(12, 3, 6, 6, generator=drawn), torch.arange(12) % 4
    with around(network):
        for _ in range(4):
            if measure:
                measure(network, optimizer, x, y)
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            if measure:
                measure(network, optimizer, x, y)
            optimizer.step()
    left = dict(network.state_dict())
    left |= {f"gradient of {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    left |= {f"momentum {n}": optimizer.state[p]["momentum_buffer"] for n, p in enumerate(optimizer.param_groups[0]["params"])}
    left["modes"] = torch.tensor([module.training for module in network.modules()])
    left["hooks"] = torch.tensor([len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()])
    return left | {"random state": torch.get_rng_state(), "draw": torch.rand(1)}


def assert_training_is_unchanged_by(
    measure: Measurement | None = None, around: Callable[[nn.Module], AbstractContextManager] = nullcontext
) -> None:
    """Compare training as it is with one measured before and after each gradient, or inside of a with-block."""
    plain, measured = trained(None), trained(measure, around)
    assert plain.keys() == measured.keys()
    for name, tensor in plain.items():
        assert torch.equal(tensor, measured[name]), name
