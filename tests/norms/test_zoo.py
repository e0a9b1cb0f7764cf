"""Is every family of timm's and torchvision's networks with BN folded, traced and re-estimated rightly, or left with a reason?

The smallest network of each family, at the smallest images it takes, with random weights and statistics, in float64.
"""

import copy
import warnings

import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bn_repro.norms import BatchNorm2d, estimate_population_statistics, fold_batch_norms
from bn_repro.norms.modes import evaluating

TIMM = (
    *("test_byobnet", "test_efficientnet", "test_resnet", "mnasnet_small", "lcnet_035", "tinynet_e", "mobilenetv3_small_050"),
    *("mobilenetv4_conv_small_035", "mixnet_s", "ghostnet_050", "repghostnet_050", "regnety_002"),
    *("mobilevit_xxs", "mobilevitv2_050", "dla46x_c", "ese_vovnet19b_slim_dw", "repvit_m0_9", "repvgg_a0"),
    *("fasternet_t0", "fastvit_t8", "starnet_s050", "efficientvit_b0", "xcit_nano_12_p16_224", "visformer_tiny", "hgnetv2_b0"),
    *("hrnet_w18_small", "inception_next_atto", "rexnet_100", "shvit_s1", "swiftformer_xs", "resnest14d"),
    *("dpn68", "efficientvit_m0", "levit_128s"),
)
TORCHVISION = (
    *("resnet18", "googlenet", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "shufflenet_v2_x0_5"),
    *("lraspp_mobilenet_v3_large",),
)
SIDES = {"efficientvit_m0": 224, "levit_128s": 224}  # of the others 64
WHOLE = {"test_byobnet", "test_efficientnet", "regnety_002", "mnasnet_small", "ghostnet_050", "hrnet_w18_small", "resnet18", "mobilenet_v2"}


def built(name):
    """Return a network in float64 with norms far from the initial ones, and a batch of images."""
    torch.manual_seed(0)
    side = SIDES.get(name, 64)
    if name in TIMM:
        arguments = {"img_size": side} if name in ("xcit_nano_12_p16_224", "visformer_tiny") else {}
        network = timm.create_model(name, num_classes=5, **arguments)
    else:
        import torchvision

        arguments = {"weights_backbone": None} if name.startswith("lraspp") else {"init_weights": False} if name == "googlenet" else {}
        network = torchvision.models.get_model(name, num_classes=5, **arguments)
    for norm in norms_of(network).values():
        for tensor, low in ((norm.running_mean, -0.3), (norm.running_var, 0.5), (norm.weight, 0.5), (norm.bias, -0.3)):
            nn.init.uniform_(tensor, low, low + 0.6)
    return network.double(), torch.randn(2, 3, side, side).double()


def norms_of(network):
    return {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}


def outputs_of(network, x):
    with evaluating(network), torch.no_grad():
        output = network(x)
    return list(output.values()) if isinstance(output, dict) else [output]


def assert_same(values, expected):
    for value, other in zip(values, expected, strict=True):
        assert (value - other).abs().max() <= 1e-10 * other.abs().max()


def check_folding(name, network, x, expected):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        folded = fold_batch_norms(network)
    assert_same(outputs_of(folded, x), expected)
    num, left = len(norms_of(network)), len(norms_of(folded))
    said = [str(one.message) for one in told if str(one.message).startswith("folded")]
    assert left < num and (name not in WHOLE or not left)
    assert [text.split(" batch norms; left as it is: ")[0] for text in said] == ([f"folded {num - left} of {num}"] if left else [])


def with_our_norms(network):
    ours = copy.deepcopy(network)
    for name, norm in norms_of(ours).items():
        if type(norm) is nn.BatchNorm2d:
            own = BatchNorm2d(norm.num_features, norm.eps, norm.momentum).double()
            own.load_state_dict(norm.state_dict())
            ours.set_submodule(name, own)
    return ours


def check_tracing(network, x, expected):
    """With our norms in the place of torch's, torch.fx traces what it traces with torch's."""
    try:
        outputs = outputs_of(torch.fx.symbolic_trace(with_our_norms(network).eval()), x)
    except Exception:
        with pytest.raises(Exception):  # noqa: B017  (whatever it says)
            outputs_of(torch.fx.symbolic_trace(copy.deepcopy(network).eval()), x)
    else:
        assert_same(outputs, expected)


def check_estimates(network, x):
    """The moments are seen by hooks, call by call; what no batch reaches, and all that is no statistic, stays."""
    before, seen = copy.deepcopy(network.state_dict()), {name: [] for name in norms_of(network)}
    for name, norm in norms_of(network).items():
        norm.register_forward_pre_hook(
            lambda _, args, name=name: seen[name].append(torch.var_mean(args[0], [0, *range(2, args[0].dim())], correction=1))
        )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert estimate_population_statistics(network, [(x, 0), (x.flip(3) * 2 + 1, 1)]) == 2
    expected = dict(before)
    for name, calls in seen.items():
        if calls:
            var, mean = (torch.stack(moments).mean(0) for moments in zip(*calls))
            expected |= {f"{name}.running_mean": mean, f"{name}.running_var": var}
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-9 * float(expected[name].abs().max()), msg=name)
    unreached = sum(not calls for calls in seen.values())
    assert len([one for one in told if "keep their statistics" in str(one.message)]) == bool(unreached)


@pytest.mark.parametrize("name", TIMM + TORCHVISION)
def test_equal_to_rounding_or_left(name):
    network, x = built(name)
    expected = outputs_of(network, x)
    check_folding(name, network, x, expected)
    check_tracing(network, x, expected)
    check_estimates(network, x)
