"""Is a network after a measurement what it was before, also when the measurement fails?"""

import copy

import pytest
import torch
from torch import nn

from bn_repro.norms import BatchNorm1d, OutsideGradientNorm
from bn_repro.probes import undisturbed


class Counting(nn.Module):
    """Change a buffer at every call, whatever the mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x):
        self.calls += 1
        return x


def network_in_mixed_modes():
    network = nn.Sequential(nn.Linear(3, 3), BatchNorm1d(3), nn.Dropout(), OutsideGradientNorm(3), Counting(), nn.BatchNorm1d(3)).train()
    network[5].eval()
    return network


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_buffers_modes_gradients_and_random_numbers(error):
    network = network_in_mixed_modes()
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    before, modes, rng = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()], torch.get_rng_state()
    try:
        with undisturbed(network):
            y = network(x)
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert not y.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [m.training for m in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert torch.is_grad_enabled()


def test_norms_use_the_batch_inside():
    network = nn.Sequential(BatchNorm1d(3)).eval()
    x = 5 + 2 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    with undisturbed(network):
        y = network(x)
    assert y.mean(0).abs().max() < 1e-5 and (y.std(0, correction=0) - 1).abs().max() < 1e-4
    torch.testing.assert_close(network(x), x / (1 + 1e-5) ** 0.5)  # the statistics are still the initial 0 and 1
