"""Does the recorder let every forward pass of a user go on, count what is not finite apart, and say what it cannot record?"""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from bn_repro.measures.drift import drift
from bn_repro.probes import ActivationProbe, ActivationRecorder, Site
from bn_repro.probes.samples import NUM_SAMPLED

EVERYWHERE = (-np.inf, np.inf)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass
class Output:
    values: torch.Tensor


class FusedNorm(nn.Module):
    """Returns what such norms return, in some container."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x, *_):
        x = x - x.mean()
        return {
            "tuple": lambda: (x, x),
            "dict": lambda: {"x": x},
            "dataclass": lambda: Output(x),
            "none": lambda: None,
            "complex": lambda: x.to(torch.complex64),
            "sparse": x.to_sparse,
            "nested": lambda: torch.nested.as_nested_tensor([x], layout=torch.jagged),
            "meta": lambda: x.to("meta"),
        }[self.how]()


class Using(nn.Module):
    def __init__(self, odd, layer):
        super().__init__()
        self.odd, self.layer = odd, layer

    def forward(self, x):
        self.odd(x)
        return self.layer(x)


def recorded(network, *batches, **settings):
    with ActivationRecorder(network, every=1, **settings) as recorder:
        for x in batches:
            network(x)
    return recorder.arrays()


@pytest.mark.parametrize("how", ["tuple", "dict", "dataclass", "none", "complex", "sparse", "nested", "meta", "lstm"])
def test_what_is_no_plain_tensor_is_skipped_and_said_once(how):
    odd = nn.LSTM(4, 3) if how == "lstm" else FusedNorm(how)
    network = Using(odd, nn.Linear(4, 2))
    with pytest.warns(UserWarning, match="odd/out is not recorded: it is a") as told:
        arrays = recorded(network, drawn(5, 4), drawn(5, 4), layers=["odd", "layer"])
    assert len(told) == 1 and arrays["step"].tolist() == [0, 1]
    assert ("odd/in/mean" in arrays) == (how != "lstm") and "odd/out/mean" not in arrays and "layer/out/mean" in arrays


def test_no_forward_pass_fails():
    """Of an empty batch, of an inference tensor, under vmap and grad, without any input, of a tensor of zero dimensions."""
    network = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2))
    with torch.inference_mode():
        inference = drawn(3, 4)
    with ActivationRecorder(network, every=1) as recorder, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        network(drawn(0, 4))
        with torch.no_grad():
            network(inference)
        torch.vmap(network)(drawn(3, 5, 4))
        torch.func.grad(lambda x: network(x).sum())(drawn(3, 4))
        network(drawn(3, 4))
    arrays = recorder.arrays()
    assert {str(one.message).split(" is ")[0] for one in told} == {"0/in", "0/out", "1/out"} and len(told) == 3
    assert arrays["step"].tolist()[-1] == 3 and np.isfinite(arrays["1/out/mean"][-1]) and np.isnan(arrays["1/out/mean"][0])


def test_a_norm_without_input_has_an_output():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = OwnNorm()

        def forward(self, x):
            return self.own() + x.sum()

    with pytest.warns(UserWarning, match="own/in is not recorded: it is a NoneType"):
        assert recorded(Constant(), drawn(3, 4))["own/out/mean"].tolist() == [3.0]


class OwnNorm(nn.Module):
    def forward(self):
        return torch.tensor(3.0)


def test_an_inference_tensor_is_recorded():
    network = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    network[0].requires_grad_(False)
    with torch.inference_mode():
        inference = drawn(30, 4)
    arrays = recorded(network, inference)
    assert arrays["0/in/mean"][0] == pytest.approx(inference.mean().item(), rel=1e-5)


@pytest.mark.parametrize("how", ["evaluation", "no_gradient", "never"])
def test_a_record_without_steps_is_explained(how):
    network = nn.Sequential(nn.BatchNorm1d(4))
    network.train(how != "evaluation")
    with ActivationRecorder(network) as recorder, torch.set_grad_enabled(how != "no_gradient"):
        for _ in range(0 if how == "never" else 3):
            network(drawn(5, 4))
    passes = 0 if how == "never" else 3
    with pytest.warns(UserWarning, match=f"nothing was recorded in 0 training passes, {passes} in evaluation mode or without gradients"):
        assert recorder.arrays()["step"].tolist() == []


NOT_FINITE = torch.tensor([[np.nan, 1, 2], [np.inf, 5, -np.inf], [3, 4, 6]])


def test_what_is_not_finite_is_counted_apart():
    """Of nine values six are finite: 1 to 6, of median 3.5."""
    network = nn.Sequential(nn.Identity())
    probed = ActivationProbe(network, [Site("0/out", network[0], False, (-8.0, 8.0), EVERYWHERE)], num_units=3, num_bins=8)(NOT_FINITE)[1]
    for arrays, row in ((probed, ()), (recorded(network, NOT_FINITE, layers=["0"], bounds=(-8.0, 8.0), num_bins=8), 0)):
        assert arrays["0/out/not_finite"][row] == 3
        np.testing.assert_allclose(arrays["0/out/percentiles"][row], np.percentile(range(1, 7), [15, 50, 85]), rtol=1e-6)
        assert arrays["0/out/histogram"][row].tolist() == [0, 0, 0, 0, 1, 2, 2, 1]
        assert np.isnan(arrays["0/out/mean"][row])
    np.testing.assert_allclose(probed["0/out/unit_percentiles"], [[3, 3, 3], [1.9, 4, 4.7], [2.6, 4, 5.4]], rtol=1e-6)


@pytest.mark.parametrize("size", [(50, 40), (500, 100)], ids=["all", "sampled"])
def test_many_values_and_none_that_is_finite(size):
    values = drawn(*size)
    values[::2] = np.nan
    network = nn.Sequential(nn.Identity())
    probe = ActivationProbe(network, [Site("0/out", network[0], False, (-10.0, 10.0), EVERYWHERE)])
    finite = values[1::2].numpy()
    for arrays, row, num in (
        (probe(values)[1], (), values.numel()),
        (recorded(network, values, layers=["0"]), 0, min(NUM_SAMPLED, values.numel())),
    ):
        bad = int(arrays["0/out/not_finite"][row])
        assert bad == pytest.approx(num / 2, rel=0.01) and arrays["0/out/histogram"][row].sum() == num - bad
        for rank, value in zip((15, 50, 85), arrays["0/out/percentiles"][row]):
            assert (finite <= value).mean() == pytest.approx(rank / 100, abs=0.02)
    nothing = torch.full((6, 3), np.nan)
    for arrays, row in ((probe(nothing)[1], ()), (recorded(network, nothing, layers=["0"]), 0)):
        assert np.isnan(arrays["0/out/percentiles"][row]).all() and arrays["0/out/histogram"][row].sum() == 0
        assert arrays["0/out/not_finite"][row] == 18


def test_a_diverged_network_has_no_distance():
    """NaN in the first bin made the Kolmogorov-Smirnov distance of a diverged network 1.0."""
    network = nn.Sequential(nn.Identity())
    diverged = recorded(network, drawn(50, 4), torch.full((50, 4), np.nan), layers=["0"])
    assert np.isnan(drift(diverged, "out")["kolmogorov_smirnov_to_final"]).all()
    half = drawn(100, 4)
    half[:50] = np.nan
    partly = recorded(network, half, half[50:], layers=["0"])
    assert drift(partly, "out")["kolmogorov_smirnov_to_final"] == 0 and partly["0/out/not_finite"].tolist() == [200, 0]


@pytest.mark.parametrize("given", [(85, 50, 15), (50, 15, 85), (15, 50, 85, 50)])
def test_percentiles_in_any_order_are_recorded_in_ascending_order(given):
    network, batches = nn.Sequential(nn.Identity()), [drawn(50, 4, seed=seed) for seed in range(3)]
    arrays = recorded(network, *batches, layers=["0"], percentiles=given)
    expected = recorded(network, *batches, layers=["0"])
    assert arrays["percentiles"].tolist() == [15, 50, 85]
    assert drift(arrays, "out")["median_path"] == drift(expected, "out")["median_path"] < 10


def test_the_median_is_found_among_any_percentiles():
    network, batches = nn.Sequential(nn.Identity()), [drawn(50, 4, seed=seed) for seed in range(3)]
    arrays = recorded(network, *batches, layers=["0"], percentiles=(15, 50, 60, 70, 85))
    assert drift(arrays, "out")["median_path"] == pytest.approx(drift(recorded(network, *batches, layers=["0"]), "out")["median_path"])


@pytest.mark.parametrize("given", [(), (15, 85), (15, 50, 101), (-1, 50), (float("nan"), 50)])
def test_percentiles_without_a_median_are_refused(given):
    network = nn.Sequential(nn.Identity())
    for make in (lambda: ActivationRecorder(network, percentiles=given), lambda: ActivationProbe(network, [], percentiles=given)):
        with pytest.raises(ValueError, match="must be in .* and hold 50, the median"):
            make()
    with pytest.raises(ValueError, match="no median between a lower and a higher one"):
        drift(recorded(network, drawn(5, 4), drawn(5, 4), layers=["0"], percentiles=(50, 85)), "out")


@pytest.mark.parametrize("bounds", [EVERYWHERE, (0.0, np.inf), (-1e39, 1.0), (np.nan, 1.0)])
def test_bounds_without_bins_are_refused(bounds):
    with pytest.raises(ValueError, match="ascending and finite"):
        ActivationRecorder(nn.Linear(3, 4), bounds=bounds)


def test_one_name_in_place_of_a_list_is_refused():
    with pytest.raises(ValueError, match="layers='10' is one name"):
        ActivationRecorder(nn.Sequential(*(nn.Linear(3, 3) for _ in range(11))), layers="10")


def test_the_deviation_of_huge_values_is_finite_and_that_of_others_is_as_before():
    network, x = nn.Linear(3, 4), drawn(5_000, 3)
    with ActivationRecorder(network, every=1, layers=[""]) as recorder:
        for scale in (1.0, 1e12, 3e17, 1e20, 1e33):
            values = network(x * scale)
            found = recorder.arrays()["/out/std"][-1].item()
            assert found == pytest.approx(values.double().std(correction=0).item(), rel=1e-5)
