"""Is a pair folded only where each of the two is called once, read by no other, and always one after the other?"""

import copy
import functools

import pytest
import torch
from folded import IMAGES, as_trained, drawn, fold_checked, pair
from torch import nn
from torch.nn import functional as F

from bn_repro.norms import fold_batch_norms

pytestmark = pytest.mark.filterwarnings("ignore:folded")


class Named(nn.Module):
    """A convolution and a norm under two names each, the second of which is called; or kept in a plain list as well."""

    def __init__(self, how):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.how = how
        self.layers = [self.conv, self.norm]
        self.conv_too, self.norm_too = self.conv, self.norm
        if how == "closure":
            self.__dict__["call"] = functools.partial(self.norm)

    def forward(self, x):
        if self.how == "second_names":
            return self.norm_too(self.conv_too(x))
        if self.how == "a_list":
            return self.layers[1](self.layers[0](x))
        if self.how == "list_and_name":
            return self.norm(self.layers[0](x))
        if self.how == "both_names":
            return self.norm_too(self.conv(self.norm(self.conv_too(x))))
        return self.norm(self.conv(x))


@pytest.mark.parametrize("how, num_folded", [("second_names", 1), ("a_list", 1), ("list_and_name", 1), ("both_names", 0), ("closure", 1)])
def test_modules_of_two_names(how, num_folded):
    assert fold_checked(as_trained(Named(how)))[0] == num_folded


class Reading(nn.Module):
    """Something else reads a weight or a statistic of a pair that is called once."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.encoder, self.norm, self.decoder = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        if how == "same_parameter":
            self.decoder.weight = self.encoder.weight
        if how == "same_parameter_of_norms":
            self.other_norm = nn.BatchNorm1d(4)
            self.other_norm.weight = self.norm.weight
        if how == "hidden_layer":
            self.decoder = Hidden(self.encoder)

    def forward(self, x):
        h = self.norm(self.encoder(x))
        if self.how == "tied":
            return F.linear(h, self.encoder.weight.t(), self.decoder.bias)
        if self.how == "scaled":
            return F.linear(h, self.encoder.weight * 2)
        if self.how == "list_of_parameters":
            return h @ list(self.encoder.parameters())[0]
        if self.how == "computed_first":
            return h @ (dict(self.named_parameters())["encoder.weight"].detach().exp() - 1)
        if self.how == "statistics":
            return self.decoder(h) * self.norm.running_var
        if self.how == "penalty":
            return self.decoder(h) + self.encoder.weight.square().sum()
        if self.how == "same_parameter_of_norms":
            return self.other_norm(self.decoder(h))
        return self.decoder(h.to(self.encoder.weight.dtype).reshape(-1, self.encoder.weight.shape[0]))


class Hidden(nn.Module):
    """Reads the weight of a layer that it does not hold as a submodule."""

    def __init__(self, layer):
        super().__init__()
        self.layers = [{"tied": layer}]

    def forward(self, h):
        return h @ self.layers[0]["tied"].weight


@pytest.mark.parametrize(
    "how, num_folded",
    [
        ("shape_and_type_alone", 1),
        *[(how, 0) for how in ("tied", "scaled", "list_of_parameters", "computed_first", "statistics", "penalty", "same_parameter")],
        ("same_parameter_of_norms", 0),
        ("hidden_layer", 0),
    ],
)
def test_what_others_read_is_left(how, num_folded):
    folded, why = fold_checked(as_trained(Reading(how)), drawn(5, 4))
    assert folded == num_folded and bool(why) == (num_folded == 0)


class Optional(nn.Module):
    """What is called depends on an argument that may be left out."""

    def __init__(self, how):
        super().__init__()
        self.how, self.conv, self.norm = how, nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)

    def forward(self, x, skip=None, is_plain: bool = False):
        h = self.conv(x)
        if self.how == "plain" and is_plain:
            return h
        if self.how == "skip" and skip is None:
            return self.norm(h) + h
        return self.norm(h) if skip is None else self.norm(h) + skip


@pytest.mark.parametrize("how, num_folded", [("neither", 1), ("plain", 0), ("skip", 0)])
def test_every_way_to_call_the_network_counts(how, num_folded):
    network = as_trained(Optional(how))
    assert fold_checked(network)[0] == num_folded
    folded = fold_batch_norms(network)
    for arguments in ({}, {"skip": torch.ones(())}, {"is_plain": True}):
        torch.testing.assert_close(folded(IMAGES, **arguments), copy.deepcopy(network).eval()(IMAGES, **arguments))


class Branching(nn.Module):
    """Cannot be traced, and calls a layer as often as its input says."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        for _ in range(2 if x.sum() > -1e9 else 1):
            x = self.norm(self.conv(x))
        return x


def test_what_cannot_be_traced_is_left_and_the_rest_is_folded():
    network = as_trained(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Sequential(Branching())))
    assert fold_checked(network) == (1, "torch.fx cannot see what Branching does with it")


def test_a_head_that_trains_alone_is_left():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = pair(nn.Conv2d(4, 5, 1)), pair(nn.Conv2d(5, 5, 1))

        def forward(self, x):
            x = self.body(x)
            return (x, self.head(x)) if self.training else x

    network = as_trained(Auxiliary())
    assert network.training and fold_checked(network) == (1, "no forward pass in evaluation mode calls it")


def test_what_asks_whether_it_is_a_tensor_is_answered():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)

        def forward(self, x):
            h = self.conv(x)
            return self.norm(h) + h if isinstance(h, (list, torch.Tensor)) else self.norm(h)

    assert fold_checked(as_trained(Asking()))[0] == 0 and "isinstance" not in globals()


def test_keywords_containers_and_in_place_changes():
    class Odd(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.how, self.conv, self.norm = how, nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)

        def forward(self, x):
            if self.how == "keyword":
                return self.norm(input=self.conv(input=x))
            h = {"x": self.conv(x)}["x"]
            if self.how == "in_place":
                h.add_(1)
            return self.norm(h)

    for how, num_folded in (("keyword", 1), ("container", 1), ("in_place", 0)):
        assert fold_checked(as_trained(Odd(how)))[0] == num_folded


@pytest.mark.parametrize("how", ["attribute", "list", "dict", "buffer"])
def test_what_is_kept_for_a_later_pass_is_seen(how):
    class Streaming(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.kept = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), {"list": [], "dict": {}}.get(how)
            if how == "buffer":
                self.register_buffer("kept_buffer", torch.zeros(()))

        def forward(self, x):
            h = self.conv(x)
            if how == "list":
                self.kept.append(h)
            elif how == "dict":
                self.kept["h"] = h
            elif how == "buffer":
                self.kept_buffer.copy_(h.mean())
            else:
                self.kept = h
            return self.norm(h)

    assert fold_checked(as_trained(Streaming()))[0] == 0
