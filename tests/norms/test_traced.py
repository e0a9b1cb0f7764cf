"""Do torch.fx and torch.ao take our norms and networks as they take torch's own?"""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.ao.quantization import fuse_modules
from torch.ao.quantization.quantize_fx import fuse_fx
from torch.nn.utils import fuse_conv_bn_eval

from bn_repro.networks import Inception, SigmoidMLP
from bn_repro.norms import BatchNorm1d, BatchNorm2d, BatchNorm3d, fold_batch_norms


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def with_statistics(network):
    for number, (name, buffer) in enumerate(network.named_buffers()):
        if name.endswith(("mean", "var")):
            buffer.copy_(0.5 + drawn(*buffer.shape, seed=number) ** 2)
    return network


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("norm", ["batch", "outside_gradient", "noisy_batch", "layer", "group", "none"])
def test_networks_are_traced(norm, is_training):
    mlp = with_statistics(SigmoidMLP(6, 3, depth=2, width=8, norm=norm)).train(is_training)
    inception = with_statistics(Inception(3, stem="small", width=0.125, norm=norm)).train(is_training)
    for network, x in ((mlp, drawn(5, 6)), (inception, drawn(3, 3, 15, 18))):
        traced = torch.fx.symbolic_trace(copy.deepcopy(network))
        assert traced.training == is_training
        torch.manual_seed(0)
        outputs = traced(x)
        torch.manual_seed(0)
        torch.testing.assert_close(outputs, network(x), rtol=0, atol=0)
        for (name, buffer), moved in zip(network.named_buffers(), traced.buffers()):
            assert torch.equal(buffer, moved), name


def test_a_norm_is_one_operation_of_the_graph():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), BatchNorm2d(4), nn.ReLU())
    nodes = torch.fx.symbolic_trace(network).graph.nodes
    assert [node.target for node in nodes if node.op == "call_module"] == ["0", "1", "2"]


def test_a_folded_inception_is_traced_for_any_number_of_images():
    network = fold_batch_norms(with_statistics(Inception(3, stem="small", width=0.125)).eval())
    traced = torch.fx.symbolic_trace(network)
    for n in (1, 3):
        torch.testing.assert_close(traced(drawn(n, 3, 16, 16)), network(drawn(n, 3, 16, 16)), rtol=0, atol=0)


@pytest.mark.parametrize(
    "conv, norm, shape",
    [
        (nn.Conv1d, BatchNorm1d, (2, 3, 5)),
        (nn.Conv2d, BatchNorm2d, (2, 3, 5, 5)),
        (nn.Conv3d, BatchNorm3d, (2, 3, 4, 4, 4)),
        (nn.Linear, BatchNorm1d, (2, 3)),
    ],
)
def test_torch_ao_fuses(conv, norm, shape):
    affine = conv(3, 4) if conv is nn.Linear else conv(3, 4, 2)
    network = with_statistics(nn.Sequential(affine, norm(4), nn.ReLU())).eval()
    names = ["0", "1"] if conv is nn.Linear else ["0", "1", "2"]
    fused = fuse_modules(copy.deepcopy(network), [names])
    assert not any(isinstance(module, norm) for module in fused.modules())
    torch.testing.assert_close(fused(drawn(*shape)), network(drawn(*shape)))
    torch.testing.assert_close(fuse_fx(copy.deepcopy(network))(drawn(*shape)), network(drawn(*shape)))
    if conv is not nn.Linear:
        torch.testing.assert_close(fuse_conv_bn_eval(network[0], network[1])(drawn(*shape)).relu(), network(drawn(*shape)))


def test_norms_are_copied_pickled_and_named_as_before():
    layer = BatchNorm2d(3)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is BatchNorm2d and vars(other)["__module__"] == vars(layer)["__module__"]
    assert BatchNorm2d.__module__ == "bn_repro.norms.batch_norm" and "__module__" not in layer.state_dict()
    assert torch.jit.script(layer).training
