"""Does a folded network compute what the network computes at inference, and is what cannot be folded left alone?"""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bn_repro.networks import SigmoidMLP
from bn_repro.norms import BatchNorm1d, BatchNorm2d, BatchNorm3d, fold_batch_norms, foldable_pairs

AFFINES = {
    "linear": (nn.Linear(4, 6), BatchNorm1d, (4,)),
    "linear_no_bias": (nn.Linear(4, 6, bias=False), BatchNorm1d, (4,)),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2), BatchNorm1d, (4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, padding=1), BatchNorm2d, (4, 5, 6)),
    "conv2d_no_bias": (nn.Conv2d(4, 6, (3, 2), bias=False), BatchNorm2d, (4, 5, 6)),
    "conv2d_grouped": (nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=2, padding_mode="reflect"), BatchNorm2d, (4, 5, 6)),
    "conv2d_depthwise": (nn.Conv2d(4, 8, 3, groups=4), BatchNorm2d, (4, 5, 6)),
    "conv3d": (nn.Conv3d(4, 6, 2), BatchNorm3d, (4, 3, 4, 3)),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 6, 3, stride=2), BatchNorm1d, (4, 5)),
    "conv_transpose2d": (nn.ConvTranspose2d(4, 6, 3, bias=False), BatchNorm2d, (4, 5, 6)),
    "conv_transpose2d_grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), BatchNorm2d, (4, 5, 6)),
    "conv_transpose3d": (nn.ConvTranspose3d(4, 6, 2), BatchNorm3d, (4, 3, 4, 3)),
}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_trained(network):
    """Return the network in float64 and training mode, with weights and statistics far from the initial ones."""
    network = copy.deepcopy(network).double().train()
    with torch.no_grad():
        for number, (name, tensor) in enumerate(network.state_dict().items()):
            if tensor.is_floating_point():
                tensor.copy_(0.1 + drawn(*tensor.shape, seed=number) ** 2 if name.endswith("var") else drawn(*tensor.shape, seed=number))
    return network


def is_same_function(network, folded, x):
    expected = copy.deepcopy(network).eval()(x)
    torch.testing.assert_close(folded(x), expected, rtol=1e-11, atol=1e-11)
    return not folded.training


def num_norms(network):
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


@pytest.mark.parametrize("has_affine", [True, False], ids=["", "without_gamma_and_beta"])
@pytest.mark.parametrize("name", AFFINES)
def test_affine_and_norm_become_one(name, has_affine):
    affine, norm, shape = AFFINES[name]
    num_features = affine.out_features if isinstance(affine, nn.Linear) else affine.out_channels
    network = as_trained(nn.Sequential(affine, norm(num_features, eps=1e-3, affine=has_affine), nn.Sigmoid()))
    assert foldable_pairs(network) == [("0", "1")]
    folded = fold_batch_norms(network)
    assert num_norms(folded) == 0 and type(folded[0]) is type(affine) and isinstance(folded[1], nn.Identity)
    assert is_same_function(network, folded, drawn(3, *shape))


def test_one_number_by_hand():
    """W = 2, b = 1; E = 3, Var = 4, gamma = 6, beta = 5: y = 6 (2x + 1 - 3) / 2 + 5 = 6x - 1."""
    network = nn.Sequential(nn.Linear(1, 1), BatchNorm1d(1, eps=1e-30)).double()
    with torch.no_grad():
        for tensor, value in zip([*network.parameters(), network[1].running_mean, network[1].running_var], (2, 1, 6, 5, 3, 4)):
            tensor.fill_(value)
    folded = fold_batch_norms(network)
    assert folded[0].weight.item() == pytest.approx(6) and folded[0].bias.item() == pytest.approx(-1)


def test_original_is_untouched():
    network = as_trained(nn.Sequential(nn.Linear(4, 6), BatchNorm1d(6), nn.Dropout()))
    network[2].eval()
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norms(network)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert isinstance(network[1], BatchNorm1d) and [module.training for module in network] == [True, True, False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("norm, num_folded", [("batch", 3), ("none", 0), ("outside_gradient", 0)])
def test_sigmoid_mlp(norm, num_folded):
    network = as_trained(SigmoidMLP(16, 10, width=7, norm=norm, keep_bias=True))
    folded = fold_batch_norms(network)
    assert len(foldable_pairs(network)) == num_folded and num_norms(folded) == 0
    assert is_same_function(network, folded, drawn(5, 4, 4))
    if norm == "batch":
        assert foldable_pairs(network) == [(f"hidden.{k}.affine", f"hidden.{k}.norm") for k in range(3)]


class Shared(nn.Module):
    """Use one affine layer or one norm twice, or read an affine layer's output twice."""

    def __init__(self, what):
        super().__init__()
        self.what = what
        self.affine = nn.Linear(4, 4)
        self.other = self.affine if what == "affine" else nn.Linear(4, 4)
        self.norm = BatchNorm1d(4)
        self.other_norm = self.norm if what == "norm" else BatchNorm1d(4)

    def forward(self, x):
        before = self.affine(x)
        y = self.other_norm(self.other(self.norm(before)))
        return y + before if self.what == "output" else y


@pytest.mark.parametrize("what, folded_pairs", [("nothing", 2), ("affine", 0), ("norm", 0), ("output", 1)])
def test_what_is_used_twice_is_left(what, folded_pairs):
    network = as_trained(Shared(what))
    assert len(foldable_pairs(network)) == folded_pairs
    assert is_same_function(network, fold_batch_norms(network), drawn(5, 4))


def test_norms_that_follow_no_affine_layer_are_left():
    network = as_trained(nn.Sequential(BatchNorm1d(4), nn.Linear(4, 4), nn.Sigmoid(), BatchNorm1d(4), nn.Linear(4, 4), BatchNorm1d(4)))
    assert foldable_pairs(network) == [("4", "5")]
    folded = fold_batch_norms(network)
    assert num_norms(folded) == 2 and is_same_function(network, folded, drawn(5, 4))


def test_norms_without_statistics_are_left():
    network = as_trained(nn.Sequential(nn.Linear(4, 4), BatchNorm1d(4, track_running_stats=False)))
    folded = fold_batch_norms(network)
    assert foldable_pairs(network) == [] and num_norms(folded) == 1
    assert is_same_function(network, folded, drawn(5, 4))


def test_norm_over_another_dimension_than_the_affine_layers_is_left():
    """A Linear over the last dimension of (N, 3, 4) makes (N, 3, 6); the norm's features are the 3."""
    network = as_trained(nn.Sequential(nn.Linear(4, 6), BatchNorm1d(3)))
    assert foldable_pairs(network) == []
    assert is_same_function(network, fold_batch_norms(network), drawn(5, 3, 4))


def test_functions_between_are_seen():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.affine, self.norm = nn.Linear(4, 4), BatchNorm1d(4)

        def forward(self, x):
            return self.norm(F.relu(self.affine(x)))

    network = as_trained(Functional())
    assert foldable_pairs(network) == []
    assert is_same_function(network, fold_batch_norms(network), drawn(5, 4))


def test_untraceable_network_is_refused():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 4), BatchNorm1d(4))

        def forward(self, x):
            return self.net(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match="cannot fold Branching"):
        fold_batch_norms(Branching())


class Fusing(nn.Sequential):
    """Have what gives a module of folded norms another form, and timm's method, which may not be called on one."""

    def fuse_folded(self):
        return nn.Sequential(*self)

    def fuse(self):
        raise AssertionError("called on folded norms")


def test_modules_give_way_to_their_fused_form_where_something_was_folded():
    network = as_trained(nn.Sequential(Fusing(nn.Linear(4, 4), BatchNorm1d(4)), nn.Sequential(Fusing(nn.Sigmoid()))))
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, Fusing) for module in folded.modules()) and isinstance(network[0], Fusing)
    assert is_same_function(network, folded, drawn(5, 4))
    assert type(fold_batch_norms(network[0])) is nn.Sequential
    assert type(fold_batch_norms(Fusing(nn.Linear(4, 4)))) is Fusing
