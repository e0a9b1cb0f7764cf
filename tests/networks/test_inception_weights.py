"""Initial weights have their stated spread; the public Caffe layout loads and computes what it computed before."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bn_repro.networks.inception import Inception
from bn_repro.networks.inception_weights import from_caffe_layout, match_reductions
from bn_repro.networks.initialization import init_he, init_xavier

# name: inputs, then filters of 1x1, 3x3 reduce, 3x3, double reduce, double 3x3, pool projection
CAFFE_MODULES = {
    "3a": (192, 64, 64, 64, 64, 96, 32),
    "3b": (256, 64, 64, 96, 64, 96, 64),
    "3c": (320, 0, 128, 160, 64, 96, 0),
    "4a": (576, 224, 64, 96, 96, 128, 128),
    "4b": (576, 192, 96, 128, 96, 128, 128),
    "4c": (576, 160, 128, 160, 128, 160, 128),
    "4d": (608, 96, 128, 192, 160, 192, 128),
    "4e": (608, 0, 128, 192, 192, 256, 0),
    "5a": (1056, 352, 192, 320, 160, 224, 128),
    "5b": (1024, 352, 192, 320, 192, 224, 128),
}


def caffe_state(dtype=torch.float64):
    """A state_dict in the public layout, with random values."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def add(name, inputs, outputs, size):
        std = math.sqrt(2 / (inputs * size**2))
        state[f"{name}.weight"] = torch.randn(outputs, inputs, size, size, generator=generator, dtype=dtype) * std
        state[f"{name}.bias"] = torch.randn(outputs, generator=generator, dtype=dtype)
        for value, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", 0.5), ("running_var", 0.5)):
            state[f"{name}_bn.{value}"] = torch.rand(outputs, generator=generator, dtype=dtype) + low

    add("conv1_7x7_s2", 3, 64, 7)
    add("conv2_3x3_reduce", 64, 64, 1)
    add("conv2_3x3", 64, 192, 3)
    for name, (inputs, direct, reduce, conv, reduce_double, double, projection) in CAFFE_MODULES.items():
        if direct:
            add(f"inception_{name}_1x1", inputs, direct, 1)
            add(f"inception_{name}_pool_proj", inputs, projection, 1)
        add(f"inception_{name}_3x3_reduce", inputs, reduce, 1)
        add(f"inception_{name}_3x3", reduce, conv, 3)
        add(f"inception_{name}_double_3x3_reduce", inputs, reduce_double, 1)
        add(f"inception_{name}_double_3x3_1", reduce_double, double, 3)
        add(f"inception_{name}_double_3x3_2", double, double, 3)
    state["last_linear.weight"] = torch.randn(1000, 1024, generator=generator, dtype=dtype) / 32
    state["last_linear.bias"] = torch.randn(1000, generator=generator, dtype=dtype)
    return state


def caffe_forward(state, x):
    """Evaluate the public network at inference, written from its layer list."""

    def layer(name, x, stride=1):
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight, state[f"{name}.bias"], stride, weight.shape[-1] // 2)
        gamma, beta, mean, var = (state[f"{name}_bn.{value}"].view(-1, 1, 1) for value in ("weight", "bias", "running_mean", "running_var"))
        return F.relu(gamma * (x - mean) / torch.sqrt(var + 1e-5) + beta)

    x = F.max_pool2d(layer("conv1_7x7_s2", x, 2), 3, 2, ceil_mode=True)
    x = F.max_pool2d(layer("conv2_3x3", layer("conv2_3x3_reduce", x)), 3, 2, ceil_mode=True)
    for name in CAFFE_MODULES:
        at, stride = f"inception_{name}", 2 if name in ("3c", "4e") else 1
        conv = layer(f"{at}_3x3", layer(f"{at}_3x3_reduce", x), stride)
        double = layer(f"{at}_double_3x3_1", layer(f"{at}_double_3x3_reduce", x))
        double = layer(f"{at}_double_3x3_2", double, stride)
        if stride == 2:
            x = torch.cat([conv, double, F.max_pool2d(x, 3, 2, ceil_mode=True)], 1)
            continue
        pooled = F.max_pool2d(x, 3, 1, 1) if name == "5b" else F.avg_pool2d(x, 3, 1, 1, ceil_mode=True)
        x = torch.cat([layer(f"{at}_1x1", x), conv, double, layer(f"{at}_pool_proj", pooled)], 1)
    return F.linear(x.mean((2, 3)), state["last_linear.weight"], state["last_linear.bias"])


@pytest.fixture(scope="module")
def state():
    return caffe_state()


@pytest.mark.parametrize("is_merged", [True, False])
def test_public_weights_give_the_public_outputs(state, is_merged):
    network = Inception(1000, stem="dense", merge_reductions=is_merged).double().eval()
    network.load_state_dict(from_caffe_layout(state, network))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(network(x), caffe_forward(state, x), rtol=1e-9, atol=1e-9)


def test_older_public_file_is_read_too(state):
    older = {name.replace("last_linear", "fc"): t[None] if "_bn." in name else t for name, t in state.items()}
    network = Inception(1000, stem="dense")
    torch.testing.assert_close(from_caffe_layout(older, network), from_caffe_layout(state, network), rtol=0, atol=0)


def test_counters_of_batches_are_kept(state):
    counted = state | {f"{name[:-7]}_bn.num_batches_tracked": torch.tensor(7) for name in state if name.endswith("s2.weight")}
    ours = from_caffe_layout(counted, Inception(1000, stem="dense"))
    assert ours["stem.conv1.norm.num_batches_tracked"] == 7


def test_wrong_names_are_refused(state):
    network = Inception(1000, stem="dense")
    without = {name: tensor for name, tensor in state.items() if not name.startswith("inception_5b_3x3_bn")}
    with pytest.raises(ValueError, match="inception_5b_3x3_bn.bias, .* and 1 more missing, nothing unknown"):
        from_caffe_layout(without, network)
    with pytest.raises(ValueError, match="nothing missing, aux_fc.weight unknown"):
        from_caffe_layout(state | {"aux_fc.weight": torch.zeros(1)}, network)


@pytest.mark.parametrize("kwargs", [{"stem": "separable"}, {"stem": "dense", "norm": "none"}])
def test_wrong_networks_are_refused(state, kwargs):
    with pytest.raises(ValueError, match="stem=dense and norm=batch"):
        from_caffe_layout(state, Inception(1000, **kwargs))


@pytest.mark.parametrize("init, variance", [(init_he, lambda i, o: 2 / i), (init_xavier, lambda i, o: 2 / (i + o))])
def test_initial_weights_have_the_stated_variance(init, variance):
    network = Inception(1000, norm="none")
    init(network, torch.Generator().manual_seed(0))
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            weight = layer.weight.detach()
            field = weight[0, 0].numel()
            expected = variance(weight.shape[1] * field, weight.shape[0] * field)
            assert weight.square().mean().item() == pytest.approx(expected, rel=0.1)
            assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("init", [init_he, init_xavier])
def test_a_gain_is_a_factor_of_all_weights(init):
    plain, larger = nn.Linear(5, 4), nn.Linear(5, 4)
    init(plain, torch.Generator().manual_seed(1))
    init(larger, torch.Generator().manual_seed(1), 1.5)
    torch.testing.assert_close(larger.weight, 1.5 * plain.weight, rtol=1e-6, atol=0)


def test_init_is_its_generators_alone_and_the_same_in_both_forms():
    merged, branched = Inception(10, stem="small"), Inception(10, stem="small", merge_reductions=False)
    before = torch.get_rng_state()
    init_he(merged, torch.Generator().manual_seed(3))
    init_he(branched, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(match_reductions(branched.state_dict(), merged), dict(merged.state_dict()), rtol=0, atol=0)
