"""Does the probe measure what numpy measures, on any network, and leave training as it was, bit for bit?"""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bn_repro.networks import NormedLayer, SigmoidMLP
from bn_repro.norms import BatchNorm1d, BatchNorm2d
from bn_repro.probes import ActivationProbe, Site, sites_around
from bn_repro.probes.activations import MAX_SORTED, counts_in_bins, percentiles_of

RANGE = (-10.0, 10.0)
EVERYWHERE = (-np.inf, np.inf)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def probed(values, bounds=RANGE, unsaturated=EVERYWHERE, **settings):
    """Return what the probe says of given activations."""
    network = nn.Identity()
    _, arrays = ActivationProbe(network, [Site("here", network, False, bounds, unsaturated)], **settings)(values)
    return {name.removeprefix("here/"): array for name, array in arrays.items()}


def test_nine_numbers_by_hand():
    values = torch.tensor([[-20.0, -3, 1], [0, 5, 2], [4, 13, 3]])
    measured = probed(values, unsaturated=(-3, 4.5), percentiles=[0, 25, 50, 100], num_units=2, num_bins=4)
    assert measured["percentiles"].tolist() == [-20, 0, 2, 13]
    assert measured["unit_percentiles"].tolist() == [[-20, -10, 0, 4], [-3, 1, 5, 13]]
    assert measured["mean"] == pytest.approx(5 / 9)
    assert measured["std"] == pytest.approx((633 / 9 - 25 / 81) ** 0.5)
    assert measured["saturated"] == pytest.approx(4 / 9)  # -20, the -3 on the edge, 5 and 13
    assert measured["histogram"].tolist() == [1, 1, 5, 2]  # edges -10, -5, 0, 5, 10; what lies outside is in the outer bins
    assert measured["range"].tolist() == [-10, 10]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bounds", [(-10.0, 10.0), (0.0, 1.0), (-0.3, 7.1)])
def test_bins_are_those_of_histc_on_every_edge(bounds, dtype):
    for num_bins in (1, 7, 100):
        edges = torch.linspace(*bounds, num_bins + 1, dtype=dtype)
        values = torch.cat([edges, edges.nextafter(edges + 1), edges.nextafter(edges - 1), 5 * drawn(3_000).to(dtype)])
        expected = torch.histc(values.clamp(*bounds), num_bins, *bounds)
        assert counts_in_bins(values, bounds, num_bins).tolist() == expected.tolist()


def test_finite_values_whose_variance_is_none_are_counted():
    measured = probed(torch.tensor([[3e38, -3e38, 1.0, 2.0]]), num_bins=4)
    assert measured["not_finite"] == 0 and measured["histogram"].tolist() == [1, 0, 2, 1]
    assert measured["percentiles"].tolist() == pytest.approx([-1.65e38, 1.5, 1.65e38], rel=1e-3)


@pytest.mark.parametrize("shape", [(50, 7), (6, 7, 5, 4)])
def test_numpy_agrees(shape):
    values = 3 * drawn(*shape) + 1
    measured = probed(values, (-4.0, 4.0), (-2, 1.5), percentiles=[15, 50, 85, 99.5], num_units=3, num_bins=16)
    array = values.numpy().astype(np.float64)
    np.testing.assert_allclose(measured["percentiles"], np.percentile(array, [15, 50, 85, 99.5]), rtol=1e-5)
    of_units = [np.percentile(array[:, unit], [15, 50, 85, 99.5]) for unit in range(3)]
    np.testing.assert_allclose(measured["unit_percentiles"], of_units, rtol=1e-5)
    np.testing.assert_allclose(measured["mean"], array.mean(), rtol=1e-5)
    np.testing.assert_allclose(measured["std"], array.std(), rtol=1e-5)
    np.testing.assert_allclose(measured["saturated"], ((array <= -2) | (array >= 1.5)).mean(), rtol=1e-6)
    np.testing.assert_array_equal(measured["histogram"], np.histogram(array.clip(-4, 4), 16, (-4, 4))[0])
    assert measured["histogram"].sum() == array.size


def test_percentiles_are_exact_up_to_the_limit():
    values = drawn(MAX_SORTED)
    ranks = [0, 1, 15, 50, 85, 99.9, 100]
    np.testing.assert_allclose(percentiles_of(values, ranks), np.percentile(values.double(), ranks), rtol=1e-5)


def of_gaussian(shape):
    return 2 * drawn(*shape)


def of_unlike_units(shape):
    """Every unit has a level of its own, as in a network without norm."""
    return 0.1 * drawn(*shape) + 2 * drawn(shape[1], seed=1).view(-1, *[1] * (len(shape) - 2))


def of_unlike_examples(shape):
    return 0.1 * drawn(*shape) + 2 * drawn(shape[0], seed=1).view(-1, *[1] * (len(shape) - 1))


def of_unlike_columns(shape):
    return 0.1 * drawn(*shape) + 2 * drawn(shape[-1], seed=1)


@pytest.mark.parametrize("shape", [(500, 100), (512, 128), (64, 32, 28, 28), (32, 64, 32, 32)], ids=str)
@pytest.mark.parametrize("values_of", [of_gaussian, of_unlike_units, of_unlike_examples, of_unlike_columns])
def test_percentiles_of_many_values_have_nearly_their_rank(values_of, shape):
    """Above the limit a subsample is sorted, whose ranks are promised to be off by less than 0.011."""
    values = values_of(shape)
    for percentile, value in zip((15, 50, 85), probed(values)["percentiles"]):
        assert (values.numpy() <= value).mean() == pytest.approx(percentile / 100, abs=0.011)


def test_probe_sees_the_sites_of_the_paper():
    """Input and output of the norm, and output of the nonlinearity, of every layer, normalized by the batch."""
    network = SigmoidMLP(4, 3, depth=2, width=5)
    x = drawn(30, 2, 2)
    logits, arrays = ActivationProbe(network.eval(), sites_around(network))(x)
    measures = ("percentiles", "unit_percentiles", "mean", "std", "saturated", "histogram", "not_finite", "range")
    places = ("before_norm", "after_norm", "after_nonlinearity")
    assert list(arrays) == [f"hidden.{layer}/{place}/{measure}" for layer in (0, 1) for place in places for measure in measures]
    a = x.flatten(1) @ network.hidden[0].affine.weight.T
    normalized = (a - a.mean(0)) / (a.var(0, correction=0) + 1e-5).sqrt()
    for place, values in (("before_norm", a), ("after_norm", normalized), ("after_nonlinearity", normalized.sigmoid())):
        np.testing.assert_allclose(
            arrays[f"hidden.0/{place}/percentiles"], np.percentile(values.detach(), [15, 50, 85]), rtol=1e-4, atol=1e-6
        )
    torch.testing.assert_close(logits, network.train()(x))
    assert not logits.requires_grad


@pytest.mark.parametrize(
    "nonlinearity, into, out_of, bounds",
    [
        (nn.Sigmoid(), [-2.9445, -2.9443, 2.9443, 2.9445], [0.0499, 0.0501, 0.9499, 0.9501], (0, 1)),
        (nn.Tanh(), [-1.4723, -1.4721, 1.4721, 1.4723], [-0.9001, -0.8999, 0.8999, 0.9001], (-1, 1)),
        (nn.ReLU(), [-1, 0, 0.01, 9], [0, 0, 0.01, 9], (0, 10)),
    ],
)
def test_saturated_means_flat(nonlinearity, into, out_of, bounds):
    """Two of each four values are where g is within 0.05 of a bound of its unit range (ln 19 = 2.9444), or is off."""
    layer = NormedLayer(nn.Identity(), nn.Identity(), nonlinearity)
    sites = {site.name.split("/")[1]: site for site in sites_around(nn.ModuleDict({"layer": layer}))}
    assert sites["after_nonlinearity"].bounds == bounds and sites["before_norm"].bounds == sites["after_norm"].bounds == RANGE
    probe = ActivationProbe(layer, [])
    for place, values in (("before_norm", into), ("after_norm", into), ("after_nonlinearity", out_of)):
        assert probe.measure(sites[place], torch.tensor([values]))["saturated"] == 0.5


class ResidualNet(nn.Module):
    """A network that knows nothing of ours, as torchvision's do not; dropout and an in-place ReLU included."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.drop, self.fc = nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(8, 4)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(x + self.bn2(self.conv2(x)))
        return self.fc(self.drop(x.mean((2, 3))))


class NormedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = NormedLayer(nn.Conv2d(3, 8, 3), BatchNorm2d(8), nn.ReLU(inplace=True))
        self.drop, self.head = nn.Dropout(0.5), NormedLayer(nn.Linear(8, 4), BatchNorm1d(4), nn.Tanh())

    def forward(self, x):
        return self.head(self.drop(self.block(x).mean((2, 3))))


def hand_made_sites(network):
    return [
        Site("conv1/out", network.conv1, False, RANGE, EVERYWHERE),
        Site("bn2/in", network.bn2, True, RANGE, EVERYWHERE),
        Site("fc/in", network.fc, True, (0.0, 10.0), (0.0, np.inf)),
    ]


def test_foreign_network_with_sites_by_hand():
    torch.manual_seed(0)
    network = ResidualNet()
    x = drawn(6, 3, 5, 5)
    _, arrays = ActivationProbe(network, hand_made_sites(network), num_units=2)(x)
    values = network.conv1(x).detach().numpy()
    np.testing.assert_allclose(arrays["conv1/out/percentiles"], np.percentile(values, [15, 50, 85]), rtol=1e-4)
    np.testing.assert_allclose(arrays["conv1/out/unit_percentiles"], [np.percentile(values[:, u], [15, 50, 85]) for u in (0, 1)], rtol=1e-4)
    assert {name.rsplit("/", 1)[0] for name in arrays} == {"conv1/out", "bn2/in", "fc/in"}
    assert sites_around(network) == []


def test_before_an_inplace_nonlinearity():
    """What the norm gave is measured, not what ReLU made of it in the same memory."""
    torch.manual_seed(0)
    network = NormedNet()
    _, arrays = ActivationProbe(network, sites_around(network))(drawn(6, 3, 5, 5))
    assert arrays["block/after_norm/percentiles"][0] < 0 <= arrays["block/after_nonlinearity/percentiles"][0]


@pytest.mark.parametrize("make, sites_of", [(ResidualNet, hand_made_sites), (NormedNet, sites_around)])
def test_training_is_the_same_with_and_without(make, sites_of):
    def trained(is_probed):
        torch.manual_seed(0)
        network = make()
        probe = ActivationProbe(network, sites_of(network))
        x, y = drawn(12, 3, 6, 6), torch.arange(12) % 4
        for step in range(4):
            if is_probed:
                probe(drawn(9, 3, 6, 6, seed=step))
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            if is_probed:
                probe(x)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter -= 0.1 * parameter.grad
        return network, torch.get_rng_state(), torch.rand(1)

    (plain, rng, draw), (watched, watched_rng, watched_draw) = trained(False), trained(True)
    assert torch.equal(rng, watched_rng) and torch.equal(draw, watched_draw)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, watched.state_dict()[name]), name
    for (name, parameter), other in zip(plain.named_parameters(), watched.parameters()):
        assert torch.equal(parameter.grad, other.grad), name
    assert [module.training for module in watched.modules()] == [module.training for module in plain.modules()]


def test_hooks_are_removed_even_after_a_failure():
    torch.manual_seed(0)
    network = ResidualNet()
    probe = ActivationProbe(network, hand_made_sites(network))
    before = copy.deepcopy(network.state_dict())
    probe(drawn(6, 3, 5, 5))
    with pytest.raises(RuntimeError):
        probe(drawn(6, 4, 5, 5))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_diverged_network_is_measured_too():
    values = torch.tensor([[float("nan"), 1.0], [float("inf"), 2.0]])
    measured = probed(values)
    assert np.isnan(measured["mean"]) and measured["unit_percentiles"][1].tolist() == pytest.approx([1.15, 1.5, 1.85])
