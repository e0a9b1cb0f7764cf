"""Does the recorder say of training's own passes what numpy says of their activations, on any network, and change nothing?"""

import copy
import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from unchanged_training import Convolutional, assert_training_is_unchanged_by

from bn_repro.measures.drift import drift
from bn_repro.networks import SigmoidMLP
from bn_repro.norms import foldable_pairs
from bn_repro.probes import ActivationRecorder
from bn_repro.probes.samples import NUM_SAMPLED, sample

MEASURES = ("percentiles", "mean", "std", "histogram", "not_finite", "range")


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_describes(arrays, site, values, row=0):
    values = values.detach().double().numpy()
    np.testing.assert_allclose(arrays[f"{site}/percentiles"][row], np.percentile(values, [15, 50, 85]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(arrays[f"{site}/mean"][row], values.mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(arrays[f"{site}/std"][row], values.std(), rtol=1e-4)
    np.testing.assert_array_equal(arrays[f"{site}/histogram"][row], np.histogram(values.clip(-10, 10), 100, (-10, 10))[0])


def test_training_passes_at_the_cadence_and_no_other():
    network, batches = SigmoidMLP(6, 3, depth=2, width=5), [drawn(30, 6, seed=seed) for seed in range(7)]
    with ActivationRecorder(network, every=3) as recorder:
        for x in batches:
            network(x)
            with torch.no_grad():
                network(x + 1)
            network.eval()(x + 2)
            network.train()
    arrays = recorder.arrays()
    sites = ["hidden.0.affine/out", "hidden.0.norm/in", "hidden.0.norm/out", "hidden.1.affine/out", "hidden.1.norm/in"]
    assert {name.rsplit("/", 1)[0] for name in arrays if "/" in name} == {*sites, "hidden.1.norm/out", "output/out"}
    assert {name.rsplit("/", 1)[1] for name in arrays if "/" in name} == set(MEASURES)
    assert arrays["step"].tolist() == [0, 3, 6]
    for row, x in enumerate(batches[::3]):
        a = x @ network.hidden[0].affine.weight.T
        assert_describes(arrays, "hidden.0.affine/out", a, row)
        assert_describes(arrays, "hidden.0.norm/in", a, row)
        assert_describes(arrays, "hidden.0.norm/out", (a - a.mean(0)) / (a.var(0, correction=0) + 1e-5).sqrt(), row)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert drift(arrays, "out")["wasserstein_path"].shape == (5,)


@pytest.mark.parametrize("shape", [(500, 100), (64, 32, 28, 28), (32, 64, 32, 32)], ids=str)
@pytest.mark.parametrize("unlike", [(0, 0, 0), (0, 2, 0), (2, 0, 0), (0, 0, 2)], ids=["gaussian", "units", "examples", "columns"])
@pytest.mark.parametrize("is_last", [False, True], ids=["", "channels_last"])
def test_sampled_ranks_are_off_by_less_than_a_hundredth(shape, unlike, is_last):
    """Also where every unit, example or column has a level of its own."""
    values = drawn(*shape)
    for axis, size in zip((0, 1, len(shape) - 1), unlike):
        along_axis = [-1 if position == axis else 1 for position in range(len(shape))]
        values = (0.1 if size else 1) * values + size * drawn(shape[axis], seed=1).view(along_axis)
    if is_last and len(shape) == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    sampled = sample(values, NUM_SAMPLED)
    assert len(sampled) == NUM_SAMPLED
    for rank in (1, 15, 50, 85, 99):
        value = np.percentile(sampled.numpy(), rank)
        assert (values.numpy() <= value).mean() == pytest.approx(rank / 100, abs=0.01)


def test_many_passes_described_at_once_are_as_one_by_one(monkeypatch):
    found = []
    for max_waiting in (0, 400, 10**6):
        monkeypatch.setattr("bn_repro.probes.samples.MAX_WAITING", max_waiting)
        torch.manual_seed(0)
        network = SigmoidMLP(6, 3, depth=2, width=5)
        with ActivationRecorder(network, every=2) as recorder:
            for seed in range(7):
                network(drawn(30, 6, seed=seed))
        found.append(recorder.arrays())
    for arrays in found[1:]:
        assert arrays.keys() == found[0].keys()
        for name, array in arrays.items():
            np.testing.assert_allclose(array, found[0][name], rtol=1e-6)


def test_only_passes_that_are_recorded_are_watched():
    network, num_watched = SigmoidMLP(6, 3, depth=2, width=5), []
    network.output.register_forward_pre_hook(lambda *_: num_watched.append(sum("forward" in vars(m) for m in network.modules())))
    with ActivationRecorder(network, every=2):
        for _ in range(3):
            network(drawn(30, 6))
        copied = copy.deepcopy(network)
    assert num_watched == [6, 1, 6]  # the network, its affine maps and its norms
    assert not any("forward" in vars(module) for module in network.modules())
    assert torch.equal(copied(drawn(30, 6)), network(drawn(30, 6)))


def test_a_copy_made_meanwhile_is_a_network_of_its_own():
    network = nn.Sequential(nn.Linear(3, 2))
    with ActivationRecorder(network, every=1) as recorder:
        copied = copy.deepcopy(network)
        copied(torch.ones(1, 3))
    assert len(recorder.arrays()["step"]) == 0
    with torch.no_grad():
        network[0].weight.zero_(), network[0].bias.zero_()
    assert copied(torch.ones(1, 3)).abs().sum() > 0 == network(torch.ones(1, 3)).abs().sum()


class Pickled(nn.Sequential):
    """At the top of a module, so that it can be pickled."""


def test_a_network_is_saved_whole_meanwhile():
    network, file, x = Pickled(nn.Linear(3, 2), nn.BatchNorm1d(2)), io.BytesIO(), drawn(4, 3)
    with ActivationRecorder(network, every=1) as recorder:
        network(x)
        torch.save(network, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        loaded(x)
    assert torch.equal(loaded(x), network(x)) and len(recorder.arrays()["step"]) == 1


def test_a_forward_of_its_own_is_put_back():
    network = nn.Sequential(nn.Linear(3, 2))
    network[0].forward = own = lambda x: x[:, :2]
    with ActivationRecorder(network, every=1) as recorder:
        network(drawn(4, 3))
    assert network[0].forward is own
    assert_describes(recorder.arrays(), "0/out", drawn(4, 3)[:, :2])


def test_a_network_of_a_compiled_part():
    torch.manual_seed(0)
    network, x, num_compiled = Convolutional(), drawn(12, 3, 6, 6), 0

    def backend(graph, _):
        nonlocal num_compiled
        num_compiled += 1
        return graph.forward

    torch.compiler.reset()
    network.drop = nn.Identity()
    network.fc1.compile(backend=backend)
    with ActivationRecorder(network, every=2, layers=["bn1", "fc1"]) as recorder:
        for _ in range(5):
            network(x)
            if recorder.step == 2:
                num_first = num_compiled
    torch.compiler.reset()
    arrays = recorder.arrays()
    assert arrays["step"].tolist() == [0, 2, 4] and num_compiled == num_first > 0
    for site in ("bn1/in", "bn1/out", "fc1/out"):
        np.testing.assert_allclose(arrays[f"{site}/percentiles"][0], arrays[f"{site}/percentiles"][2], rtol=1e-4, atol=1e-6)


def test_the_size_of_the_sample_is_an_argument():
    network = nn.Sequential(nn.BatchNorm1d(10))
    x = drawn(1000, 10)
    with ActivationRecorder(network, num_sampled=500) as few, ActivationRecorder(network, num_sampled=10_000) as all_of_them:
        network(x)
    assert few.arrays()["0/in/histogram"].sum() == 500
    assert_describes(all_of_them.arrays(), "0/in", x)


def test_training_is_the_same_with_and_without():
    assert_training_is_unchanged_by(around=lambda network: ActivationRecorder(network, every=2, num_sampled=100))


def test_chosen_layers_and_what_changes_them_in_place():
    network, x = Convolutional(), drawn(12, 3, 6, 6)
    with ActivationRecorder(network, layers=["bn1", "relu"]) as recorder:
        network(x)
    arrays = recorder.arrays()
    assert [name for name in arrays if name.endswith("mean")] == ["bn1/in/mean", "bn1/out/mean", "relu/out/mean"]
    a = network.conv1(x)
    normalized = (a - a.mean((0, 2, 3), keepdim=True)) / (a.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    assert_describes(arrays, "bn1/out", normalized)  # not what ReLU makes of it in the same memory
    assert_describes(arrays, "relu/out", normalized.relu())  # the first of three calls
    with pytest.raises(ValueError, match="Convolutional has no layer 'bn9'"):
        ActivationRecorder(network, layers=["bn9"])


def test_checkpointing_counts_once_and_a_failed_or_partial_pass_does_no_harm():
    class Partial(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.has_second = nn.Linear(4, 4), nn.Linear(4, 4), True

        def forward(self, x):
            x = checkpoint(self.first, x, use_reentrant=False)
            return self.second(x) if self.has_second else x

    network, x = Partial(), drawn(8, 4)
    with ActivationRecorder(network, every=1) as recorder:
        with pytest.raises(RuntimeError):
            network(drawn(8, 5))
        network(x).sum().backward()
        network.has_second = False
        network(x).sum().backward()
    arrays = recorder.arrays()
    assert arrays["step"].tolist() == [1, 2]
    assert arrays["first/out/histogram"].sum(1).tolist() == [32, 32] and arrays["second/out/histogram"].sum(1).tolist() == [32, 0]
    assert np.isfinite(arrays["second/out/mean"][0]) and np.isnan(arrays["second/out/mean"][1])


def resnet18():
    from torchvision.models import resnet18

    return resnet18(num_classes=4), drawn(4, 3, 40, 40)


def vision_transformer():
    import timm

    return timm.create_model("test_vit", img_size=32, num_classes=4), drawn(4, 3, 32, 32)


SITES = {resnet18: ("bn1/in", "layer3.1.conv2/out"), vision_transformer: ("norm/in", "blocks.0.mlp.fc1/out")}


@pytest.mark.parametrize("make, sites", SITES.items())
def test_foreign_networks_under_autocast_in_channels_last(make, sites):
    torch.manual_seed(0)
    network, x = make()
    network.to(memory_format=torch.channels_last)
    with ActivationRecorder(network, every=2) as recorder:
        for _ in range(3):
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(network(x.to(memory_format=torch.channels_last)).float(), torch.arange(4))
            loss.backward()
    arrays = recorder.arrays()
    assert arrays["step"].tolist() == [0, 2] and all(np.isfinite(array).all() for array in arrays.values())
    assert all(f"{site}/percentiles" in arrays for site in sites)
    num_norms = sum(isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)) for module in network.modules())
    assert len([name for name in arrays if name.endswith("/in/mean")]) == num_norms > 5


def test_a_compiled_network_is_recorded_between_its_graphs():
    torch.manual_seed(0)
    network, x, graphs = Convolutional(), drawn(12, 3, 6, 6), []
    network.drop = nn.Identity()

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    with ActivationRecorder(network, every=1, layers=["bn1", "fc1"]) as recorder:
        compiled = torch.compile(network, backend=backend)
        compiled(x)
        compiled(x)
        num_graphs = len(graphs)
        compiled(x)
        network(x)
    torch.compiler.reset()
    arrays = recorder.arrays()
    assert arrays["step"].tolist() == [0, 1, 2, 3]
    assert 3 <= num_graphs == len(graphs)  # before, between and after the two layers; none anew at every step
    for site in ("bn1/in", "bn1/out", "fc1/out"):
        np.testing.assert_allclose(arrays[f"{site}/percentiles"][0], arrays[f"{site}/percentiles"][3], rtol=1e-4, atol=1e-6)


def test_each_process_of_a_distributed_network_records_its_share(tmp_path):
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        network, x = SigmoidMLP(6, 3, depth=1, width=5), drawn(30, 6)
        parallel = nn.parallel.DistributedDataParallel(network)
        with ActivationRecorder(network) as recorder:
            parallel(x).sum().backward()
    finally:
        distributed.destroy_process_group()
    assert_describes(recorder.arrays(), "hidden.0.norm/in", network.hidden[0].affine(x))


def test_sites_are_in_the_order_of_the_network():
    """However large their samples are, and so whenever they are described."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 4), nn.Linear(4, 5))
    with ActivationRecorder(network, every=1) as recorder:
        network(drawn(30, 3))
    names = [name for name in recorder.arrays() if name.endswith("/mean")]
    assert names == [f"{layer}/out/mean" for layer in range(4)]


def test_inputs_by_keyword_are_seen():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x):
            return self.norm(input=x)

    network, x = Keyword(), drawn(30, 3)
    with ActivationRecorder(network) as recorder:
        network(x=x)
    assert_describes(recorder.arrays(), "norm/in", x)


def watched_in(network):
    return ["forward" in vars(module) for module in network.modules()]


def test_recorders_end_in_any_order_and_after_a_pass_that_failed():
    def make():
        return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))

    network = make()
    with pytest.raises(ValueError, match="Expected more than 1 value"), ActivationRecorder(network, 1), ActivationRecorder(network, 1):
        network(torch.randn(1, 5))
    assert not any(watched_in(network))
    with ActivationRecorder(network, every=2) as outer:
        with ActivationRecorder(network, every=1), pytest.raises(ValueError, match="Expected more than 1 value"):
            network(torch.randn(1, 5))
        for _ in range(4):
            network(torch.randn(4, 5))
    assert outer.arrays()["step"].tolist() == [2, 4] and not any(watched_in(network))
    network = make()
    first, second = ActivationRecorder(network, every=1), ActivationRecorder(network, every=1)
    first.__enter__(), second.__enter__()
    network(torch.randn(4, 5))
    first.__exit__()
    network(torch.randn(4, 5))
    second.__exit__()
    assert [recorder.arrays()["step"].tolist() for recorder in (first, second)] == [[0], [0, 1]] and not any(watched_in(network))


def test_a_forward_of_a_users_own_is_there_after_recorders():
    network = nn.Linear(5, 6)
    own = network.forward = lambda x, forward=network.forward: 2 * forward(x)
    with ActivationRecorder(network, every=1), ActivationRecorder(network, every=1):
        network(torch.randn(4, 5))
    assert network.forward is own


def test_what_hooks_return_is_recorded():
    network = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 2))
    network[0].register_forward_hook(lambda module, args, output: 100 * output)
    x = torch.randn(8, 5)
    with ActivationRecorder(network, every=1) as recorder:
        network(x)
    assert recorder.arrays()["0/out/std"][0] == pytest.approx(network[0](x).std(correction=0).item(), rel=1e-4)


def test_a_copy_made_while_recording_can_be_folded():
    network = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    with ActivationRecorder(network, every=1):
        network(torch.randn(8, 5))
        copied = copy.deepcopy(network)
    assert foldable_pairs(copied) == [("0", "1")]


def described(network, x, **options):
    """Record one training pass, and return what was warned of when it was read."""
    with ActivationRecorder(network, **options) as recorder:
        network(x).sum().backward()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        recorder.arrays()
    return [str(one.message) for one in told]


@pytest.mark.parametrize("scale", [0.01, 1000.0])
def test_histograms_too_coarse_for_a_layer_are_told(scale):
    """All values in the two bins around 0, or in the two outer ones."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(6, 5, bias=False)), torch.randn(400, 6)
    network[0].weight.data.normal_(0, scale)
    (said,) = described(network, x)
    assert said.startswith("the histograms of 0/out have") and "of their 100 bins from -10 to 10" in said
    assert described(network, x, bounds=(-4 * scale, 4 * scale)) == []


def test_the_output_of_a_norm_may_be_nothing_at_first():
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    nn.init.zeros_(network[1].weight)
    assert described(network, torch.randn(400, 6)) == []


def test_layers_that_are_never_called_are_told():
    encoder = nn.TransformerEncoderLayer(16, 2, batch_first=True)
    assert described(encoder, torch.randn(2, 5, 16)) == ["not recorded, since never called: self_attn.out_proj/out"]
    (said,) = described(encoder, torch.randn(2, 5, 16), layers=["self_attn.out_proj"])
    assert said.endswith("none of the layers was called")
