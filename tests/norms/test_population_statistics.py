"""Are E[x] and Var[x] after training those of Algorithm 2, in every layer of a stack, and is all else left alone?"""

import copy

import pytest
import torch
from batch_norm_reference import as_rows, population, transform
from torch import nn

from bn_repro.norms import BatchNorm1d, BatchNorm2d, OutsideGradientNorm, batch_norms, estimate_population_statistics, normalizing_by_batch


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float64).view(-1, 1)


def two_layers():
    """Return a float64 network whose second norm's input depends on the first norm's mode, with used statistics."""
    network = nn.Sequential(BatchNorm1d(3), nn.Linear(3, 4), BatchNorm1d(4)).double()
    with torch.no_grad():
        for number, tensor in enumerate([*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]):
            tensor.copy_(0.5 + drawn(*tensor.shape, seed=number) ** 2)
    network[0].num_batches_tracked.fill_(7)
    return network


BATCHES = [k + k * drawn(6, 3, seed=k) for k in (1, 2, 3)]


def test_two_batches_by_hand():
    """0, 2 and 4, 8: mu_B = 1, 6; var_B = 1, 4; m/(m-1) = 2. So E = 3.5 and Var = 2 * 2.5."""
    layer = BatchNorm1d(1).double()
    assert estimate_population_statistics(layer, [column(0, 2), column(4, 8)]) == 2
    assert layer.running_mean.item() == 3.5 and layer.running_var.item() == 5


def test_each_layer_sees_the_training_network_below_it():
    network = two_layers()
    first, affine, _ = (copy.deepcopy(layer) for layer in network)
    assert estimate_population_statistics(network, iter(BATCHES)) == 3
    below = [transform(x, first.gamma, first.beta, first.eps) @ affine.weight.T + affine.bias for x in BATCHES]
    for layer, inputs in ((network[0], BATCHES), (network[2], below)):
        mean, var = population(inputs)
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(layer.running_var, var, rtol=1e-12, atol=1e-12)


def test_convolution_counts_locations():
    batches = [drawn(2, 3, 4, 5, seed=k) for k in (1, 2)]
    layer = BatchNorm2d(3).double()
    estimate_population_statistics(layer, batches)
    mean, var = population([as_rows(x) for x in batches])
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_var, var)


def test_shared_layer_averages_over_its_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = BatchNorm1d(3).double()

        def forward(self, x):
            return self.norm(x) + self.norm(5 * x)

    network = Twice()
    assert estimate_population_statistics(network, BATCHES) == 3
    mean, var = population([x for batch in BATCHES for x in (batch, 5 * batch)])
    torch.testing.assert_close(network.norm.running_mean, mean)
    torch.testing.assert_close(network.norm.running_var, var)


def test_moving_averages_go_on_as_before():
    network = two_layers()
    network[2].momentum = None
    estimate_population_statistics(network, BATCHES)
    assert [layer.momentum for layer in batch_norms(network)] == [0.1, None]
    assert [int(layer.num_batches_tracked) for layer in batch_norms(network)] == [7, 0]


def test_parameters_and_gradients_are_frozen():
    network = two_layers()
    before = copy.deepcopy(dict(network.named_parameters()))
    estimate_population_statistics(network, BATCHES)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.grad is None


def test_modes_are_restored_and_dropout_is_off():
    network = nn.Sequential(nn.Dropout(0.5), *two_layers()).train()
    network[3].eval()
    modes = [module.training for module in network.modules()]
    rng = torch.get_rng_state()
    estimate_population_statistics(network, BATCHES)
    assert [module.training for module in network.modules()] == modes and True in modes and False in modes
    assert torch.equal(torch.get_rng_state(), rng)
    torch.testing.assert_close(network[1].running_mean, population(BATCHES)[0])


def test_no_batches_leave_the_old_statistics():
    network = two_layers()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match="at least one batch"):
        estimate_population_statistics(network, [])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [layer.momentum for layer in batch_norms(network)] == [0.1, 0.1]


def test_a_failure_leaves_the_old_statistics():
    def failing():
        yield BATCHES[0]
        raise KeyboardInterrupt

    for batches, error in ((failing(), KeyboardInterrupt), ([BATCHES[0], torch.ones(6, 2).double()], RuntimeError)):
        network = two_layers().eval()
        before = copy.deepcopy(network.state_dict())
        with pytest.raises(error):
            estimate_population_statistics(network, batches)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        assert [layer.momentum for layer in batch_norms(network)] == [0.1, 0.1]
        assert not any(module.training for module in network.modules())


def test_networks_without_statistics():
    network = nn.Sequential(nn.Linear(3, 4), BatchNorm1d(4, track_running_stats=False)).double()
    before = copy.deepcopy(network.state_dict())
    assert batch_norms(network) == []
    assert estimate_population_statistics(network, BATCHES) == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_batch_norms_finds_torchs_own():
    network = nn.Sequential(
        nn.BatchNorm1d(3), nn.Sequential(BatchNorm1d(3)), nn.LayerNorm(3), nn.InstanceNorm1d(3, track_running_stats=True)
    )
    assert batch_norms(network) == [network[0], network[1][0]]


def test_normalizing_by_batch_is_for_norms_alone():
    network = nn.Sequential(BatchNorm1d(3), nn.Dropout(), OutsideGradientNorm(3), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3))).eval()
    network[1].train()
    with pytest.raises(RuntimeError), normalizing_by_batch(network):
        assert [m.training for m in (network[0], network[1], network[2], network[3][0], network[3][1])] == [True, False, True, False, True]
        raise RuntimeError
    assert [m.training for m in (network[0], network[1], network[2], network[3][0], network[3][1])] == [False, True, False, False, False]
