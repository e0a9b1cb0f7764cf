"""Figure 5 as built: its counts, shapes and order; merged reductions and other forms of it compute the same."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bn_repro.config import NORMS
from bn_repro.networks.inception import Inception, InceptionModule, PerActivation, scale
from bn_repro.networks.inception_inference import BiasedSumPool, ProjectFirst
from bn_repro.networks.inception_weights import match_reductions
from bn_repro.networks.initialization import init_he
from bn_repro.networks.normed_layer import NormedLayer
from bn_repro.networks.pools import build_pool
from bn_repro.norms import (
    BatchNorm1d,
    BatchNorm2d,
    batch_norms,
    build_norm,
    fold_batch_norms,
    foldable_pairs,
    keep_reference,
    normalizes_each_map,
)
from bn_repro.norms.virtual_batch_norm import taking_reference

PRINTED_OUTPUTS = {
    "stem.conv1": (64, 112, 112),
    "stem.pool1": (64, 56, 56),
    "stem.conv2": (192, 56, 56),
    "stem.pool2": (192, 28, 28),
    "inception.3a": (256, 28, 28),
    "inception.3b": (320, 28, 28),
    "inception.3c": (576, 14, 14),
    "inception.4a": (576, 14, 14),
    "inception.4b": (576, 14, 14),
    "inception.4c": (576, 14, 14),
    "inception.4d": (576, 14, 14),
    "inception.4e": (1024, 7, 7),
    "inception.5a": (1024, 7, 7),
    "inception.5b": (1024, 7, 7),
    "global_pool": (1024,),
}
SUMS_OF_FILTERS = {"inception.4c": (608, 14, 14), "inception.4d": (608, 14, 14), "inception.4e": (1056, 7, 7)}


def on_meta(**kwargs):
    with torch.device("meta"):
        return Inception(1000, **kwargs), torch.empty(1, 3, 224, 224)


def small(seed=0, **kwargs):
    network = Inception(10, **{"stem": "small", "width": 0.125, **kwargs})
    init_he(network, torch.Generator().manual_seed(seed))
    return network


def images(size=16, dtype=torch.float32, n=4):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize(
    "stem, projection, num_parameters",
    [("dense", 128, 11_285_224), ("separable", 128, 11_278_528), ("dense", 96, 11_194_984), ("separable", 96, 11_188_288)],
)
@pytest.mark.parametrize("is_merged, num_layers", [(False, 69), (True, 51)])
def test_counts_of_parameters_and_convolutions(stem, projection, num_parameters, is_merged, num_layers):
    network, _ = on_meta(stem=stem, projection_4c_4d=projection, merge_reductions=is_merged)
    assert sum(p.numel() for p in network.parameters()) == num_parameters
    assert sum(isinstance(m, NormedLayer) for m in network.modules()) == num_layers


@pytest.mark.parametrize("stem, millions", [("dense", 2033), ("separable", 1949)])
@pytest.mark.parametrize("is_merged", [False, True])
def test_multiply_adds_at_224_pixels(stem, millions, is_merged):
    network, x = on_meta(stem=stem, merge_reductions=is_merged)
    with FlopCounterMode(display=False) as counter:
        network(x)
    assert round(counter.get_total_flops() / 2e6) == millions


@pytest.mark.parametrize("projection, exceptions", [(128, SUMS_OF_FILTERS), (96, {})])
def test_outputs_have_the_shapes_of_figure_5(projection, exceptions):
    network, x = on_meta(projection_4c_4d=projection)
    shapes = {}
    for name in PRINTED_OUTPUTS:
        network.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: shapes.update({name: tuple(output.shape[1:])}))
    assert network(x).shape == (1, 1000)
    assert shapes == PRINTED_OUTPUTS | exceptions


@pytest.mark.parametrize("norm, has_bias", [("batch", False), ("none", True)])
def test_every_convolution_is_followed_by_the_norm_and_then_by_g(norm, has_bias):
    network = small(norm=norm, nonlinearity="sigmoid", stem="separable", norm_eps=1e-3, norm_momentum=0.2)
    layers = [m for m in network.modules() if isinstance(m, NormedLayer)]
    last_convs = [layer.affine[-1] if isinstance(layer.affine, nn.Sequential) else layer.affine for layer in layers]
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == len(layers) + 1
    assert all(isinstance(conv, nn.Conv2d) and (conv.bias is not None) == has_bias for conv in last_convs)
    assert all(isinstance(layer.nonlinearity, nn.Sigmoid) for layer in layers)
    if norm == "batch":
        assert all(isinstance(m.norm, BatchNorm2d) and (m.norm.eps, m.norm.momentum) == (1e-3, 0.2) for m in layers)
    else:
        assert all(isinstance(layer.norm, nn.Identity) for layer in layers)


def test_separable_convolution_is_one_linear_map_of_rank_8_per_channel():
    affine = Inception(10, stem="separable", width=0.25).double().stem.conv1.affine
    depthwise, pointwise = affine[0].weight, affine[1].weight  # (3 * 8, 1, 7, 7), (16, 3 * 8, 1, 1)
    kernel = torch.einsum("ocm,cmhw->ochw", pointwise.view(16, 3, 8), depthwise.view(3, 8, 7, 7))
    x = images(dtype=torch.float64)
    torch.testing.assert_close(affine(x), F.conv2d(x, kernel, stride=2, padding=3))


def test_width_rounds_filters_to_multiples_of_8():
    assert [scale(n, 0.25) for n in (0, 32, 64, 96, 224)] == [0, 8, 16, 24, 56]
    assert [scale(n, 0.1) for n in (0, 32, 64, 96, 128, 224)] == [0, 8, 8, 8, 16, 24]
    assert [scale(n, 1.0) for n in (0, 32, 96, 352)] == [0, 32, 96, 352]


@pytest.mark.parametrize("stride, expected", [(1, [32, 32, 16, 8]), (2, [16, 16, 8, 4])])
def test_small_stem_keeps_or_halves_the_resolution(stride, expected):
    network, sides = small(stem_stride=stride), []
    for name in ("stem", "inception.3a", "inception.4a", "inception.5a"):
        network.get_submodule(name).register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    assert network(images(32)).shape == (4, 10)
    assert sides == expected


@pytest.mark.parametrize("size", [28, 30, 33, 37])  # 28 reaches 4e with the odd side 7
def test_odd_sides_round_up(size):
    side = -(-size // 8)
    assert small().forward_features(images(size)).shape[2:] == (side, side)


@pytest.mark.parametrize("shape", [(14, 14), (2, 2), (7, 7), (8, 5), (1, 4)])
def test_stride_2_pool_has_caffes_windows_on_even_sides_and_one_more_on_odd_ones(shape):
    x = images(14, torch.float64)[..., : shape[0], : shape[1]] - 9  # negative, so that padding with 0 would show
    padded = F.pad(x, (0, 1, 0, 1), value=-torch.inf)
    torch.testing.assert_close(build_pool("max", 2)(x), F.max_pool2d(padded, 3, 2, ceil_mode=True), rtol=0, atol=0)
    if not any(side % 2 for side in shape):
        torch.testing.assert_close(build_pool("max", 2)(x), F.max_pool2d(x, 3, 2, ceil_mode=True), rtol=0, atol=0)


def test_average_pool_counts_the_padding():
    corner = build_pool("avg", 1)(torch.ones(1, 1, 5, 5))[0, 0, 0, 0]
    assert corner.item() == pytest.approx(4 / 9)


def test_lrn_stands_where_googlenet_has_it():
    names = ["conv1", "pool1", "lrn1", "conv2_reduce", "conv2", "lrn2", "pool2"]
    stem = on_meta(has_lrn=True)[0].stem
    assert [name for name, _ in stem.named_children()] == names
    a = torch.rand(1, 12, 1, 1, dtype=torch.float64) * 50
    total = sum(F.pad(a, (0, 0, 0, 0, 2, 2))[:, i : i + 12] ** 2 for i in range(5))
    torch.testing.assert_close(stem.lrn1(a), a / (1 + 1e-4 / 5 * total) ** 0.75)


def test_dropout_stands_before_the_classifier():
    network = small(drop_rate=0.4, nonlinearity="sigmoid")  # no feature is 0 by itself
    seen = []
    network.fc.register_forward_pre_hook(lambda _, args: seen.append((args[0] == 0).float().mean().item()))
    network(images(n=64))
    network.eval()(images())
    assert seen == [pytest.approx(0.4, abs=0.05), 0]


def run(network, x):
    network(x).square().mean().backward()
    return {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize(
    "kwargs",
    [
        {"width": 1.0},
        {"norm": "none", "nonlinearity": "tanh"},
        {"norm": "outside_gradient", "nonlinearity": "sigmoid"},
        {"per_activation_size": 2},
    ],
)
def test_merged_reductions_compute_what_the_branches_compute(kwargs):
    branched = small(merge_reductions=False, **kwargs).double()
    merged = small(seed=5, **kwargs).double()
    merged.load_state_dict(match_reductions(branched.state_dict(), merged))
    x = images(dtype=torch.float64)
    torch.testing.assert_close(merged(x), branched(x), rtol=1e-10, atol=1e-10)
    expected = match_reductions(run(branched, x), merged)
    gradients = run(merged, x)
    assert expected.keys() == gradients.keys() and all(g.abs().max() > 0 for g in gradients.values())
    torch.testing.assert_close(gradients, expected, rtol=1e-8, atol=1e-10)
    expected = match_reductions(branched.state_dict(), merged)
    torch.testing.assert_close(dict(merged.state_dict()), expected, rtol=1e-10, atol=1e-12)
    back = match_reductions(merged.state_dict(), branched)
    torch.testing.assert_close(back, dict(branched.state_dict()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_only_norms_of_single_maps_are_merged(norm):
    assert any(m.is_merged for m in small(norm=norm).modules() if isinstance(m, InceptionModule)) == normalizes_each_map(norm)
    x = torch.randn(4, 12, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole, part = (build_norm(norm, n, 2, 1e-5, 0.1).double() for n in (12, 5))
    with taking_reference(whole), taking_reference(part):  # which only some of the norms do
        outputs = whole(x)[:, 7:], part(x[:, 7:])
    assert torch.allclose(*outputs) == normalizes_each_map(norm)


@pytest.mark.parametrize("norm", ["layer", "group"])
@pytest.mark.parametrize("kwargs", [{}, {"per_activation_size": 2}, {"stem": "separable"}])
def test_norms_of_single_examples_train_and_have_nothing_to_fold(norm, kwargs):
    network = small(norm=norm, **kwargs)
    gradients = run(network, images())
    assert all(g.isfinite().all() for g in gradients.values()) and not foldable_pairs(network)
    assert all(layer.affine.bias is not None for layer in network.modules() if isinstance(getattr(layer, "affine", None), nn.Conv2d))
    torch.testing.assert_close(network.eval()(images())[:1], network(images()[:1]), rtol=1e-4, atol=1e-5)


def test_per_activation_norm_takes_each_activation_for_a_feature():
    network = small(per_activation_size=2)
    kinds = {name: type(m.norm) for name, m in network.named_modules() if isinstance(m, NormedLayer)}
    assert all((kind is PerActivation) == name.startswith("inception.5b.") for name, kind in kinds.items())
    x = images(2, torch.float64)
    xhat = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(PerActivation(BatchNorm1d(12).double())(x), xhat)


@pytest.mark.parametrize("kwargs", [{"stem": "separable"}, {"stem": "dense", "merge_reductions": False}, {"stem": "small"}])
def test_every_batch_norm_folds(kwargs):
    network = small(**kwargs).double()
    network(images(32, torch.float64))
    folded = fold_batch_norms(network)
    assert len(batch_norms(network)) > 50 and not batch_norms(folded)
    x = images(32, torch.float64) + 1
    torch.testing.assert_close(folded(x), network.eval()(x))


def as_trained(network, side=32):
    """Return the network in float64 and evaluation mode, with batch norms far from the initial ones."""
    network = network.double()
    network(images(side, torch.float64))
    generator = torch.Generator().manual_seed(2)
    for norm in batch_norms(network):
        for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            tensor += torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * tensor.abs().mean()
        norm.bias.data += torch.randn(norm.bias.shape, generator=generator, dtype=torch.float64)
    return network.eval()


def rearranged(network):
    return [name for name, module in network.named_modules() if isinstance(module, ProjectFirst)]


@pytest.mark.parametrize("num_images", [1, 3])
@pytest.mark.parametrize(
    "side, kwargs",
    [
        (16, {}),
        (13, {"merge_reductions": False}),
        (13, {"nonlinearity": "sigmoid"}),
        (32, {"nonlinearity": "tanh", "merge_reductions": False, "stem": "separable"}),
        (16, {"per_activation_size": 2, "width": 0.25, "projection_4c_4d": 96}),
        (45, {"has_lrn": True, "stem": "dense"}),
    ],
)
def test_folded_modules_of_average_pools_project_first(side, kwargs, num_images):
    network = as_trained(small(**kwargs), side)
    x = images(side, torch.float64, num_images) + 1
    before, expected = copy.deepcopy(network), network(x)
    folded = fold_batch_norms(network)
    assert rearranged(folded) == [f"inception.{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "5a")]
    torch.testing.assert_close(folded(x), expected, rtol=1e-11, atol=1e-11)
    maps, folded_maps = network.forward_features(x), folded.forward_features(x)
    torch.testing.assert_close(folded_maps, maps, rtol=1e-10, atol=1e-10 * maps.abs().max().item())
    again = copy.deepcopy(folded)
    again.load_state_dict(folded.state_dict())
    assert torch.equal(again(x), folded(x))
    assert not rearranged(network) and network.state_dict().keys() == before.state_dict().keys()
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(network(x), expected)


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "batch"])
@pytest.mark.parametrize("kwargs", [{}, {"merge_reductions": False}])
def test_modules_without_folded_norms_stay(norm, kwargs):
    network = small(norm=norm, **kwargs).double()
    keep_reference(network, images(dtype=torch.float64).flip(0))  # which only some of the norms use
    network(images(dtype=torch.float64, n=32))
    folded, x = fold_batch_norms(network.eval()), images(dtype=torch.float64)
    assert not rearranged(folded)
    torch.testing.assert_close(folded(x), network(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("num_images", [1, 3])
def test_sum_pool_adds_the_bias_after_the_padding(num_images):
    pool, x = BiasedSumPool(nn.Parameter(torch.tensor([10.0, 20.0]))), torch.ones(num_images, 2, 3, 4)
    neighbours = torch.tensor([[4.0, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]])
    expected = torch.stack([neighbours + 10, neighbours + 20]).expand(num_images, 2, 3, 4)
    torch.testing.assert_close(pool(x), expected)


def test_folded_network_has_gradients():
    network, x = as_trained(small(nonlinearity="tanh")), images(dtype=torch.float64)
    gradients, by_norms = run(fold_batch_norms(network), x), run(network, x)
    assert all(g.isfinite().all() for g in gradients.values())
    torch.testing.assert_close(gradients["inception.3a.pool.bias"], by_norms["inception.3a.projection.norm.bias"])


def test_folding_draws_no_random_numbers():
    network, before = as_trained(small()), torch.get_rng_state()
    fold_batch_norms(network)
    assert torch.equal(torch.get_rng_state(), before)


def test_channels_last_goes_through_and_changes_nothing():
    network, x = small(), images()
    expected = network(x)
    network.to(memory_format=torch.channels_last)
    last = torch.channels_last
    assert network.forward_features(images(32).to(memory_format=last)).is_contiguous(memory_format=last)
    torch.testing.assert_close(network(x.to(memory_format=last)), expected, rtol=1e-3, atol=1e-3)


def test_bf16_autocast_trains():
    network, x = small(has_lrn=True), images()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(x)
    assert logits.dtype == torch.bfloat16
    logits.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_compiles_as_one_graph():
    network, x = small(has_lrn=True), images()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), network(x))


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="stem 'huge' does not exist; choices: separable, dense, pooled, small"):
        Inception(10, stem="huge")
    with pytest.raises(ValueError, match="norm 'btach'"):
        Inception(10, norm="btach")
    with pytest.raises(ValueError, match="'normalized_tanh' takes layers as wholes"):
        Inception(10, nonlinearity="normalized_tanh")


def test_the_network_is_built_without_timm():
    code = "import sys, bn_repro.networks.inception, bn_repro.networks.inception_weights; sys.exit('timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("change", ["hook", "hook of a part", "pool", "nonlinearity"])
def test_a_changed_module_is_folded_as_it_is(change):
    module = Inception(5, stem="small", width=0.125).inception[0].eval()
    if change == "pool":
        module.pool.count_include_pad = False
    elif change == "nonlinearity":
        module.projection.nonlinearity = nn.Tanh()
    else:
        (module if change == "hook" else module.projection).register_forward_hook(lambda *args: 2 * args[-1])
    x = torch.randn(2, 24, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norms(nn.Sequential(module))(x), module(x), rtol=1e-4, atol=1e-5)
