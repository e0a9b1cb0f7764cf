"""Is folding right in every way to call a network: switches, gradients on or off, hooks, code that asks what its norms are?"""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bn_repro.norms import fold_batch_norms, foldable_pairs


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, Y = drawn(6, 4), torch.arange(6) % 3


class Switched(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.norm.running_var.fill_(9.0)


def test_switches_that_matter_together_are_seen():
    class TwoSwitches(Switched):
        def forward(self, x, features=False, raw=False):
            h = self.layer(x)
            return h if features and raw else self.norm(h)

    assert foldable_pairs(TwoSwitches()) == []


def test_what_depends_on_gradients_being_on_is_seen():
    class OnlyInTraining(Switched):
        def forward(self, x):
            h = self.layer(x)
            return self.norm(h) if torch.is_grad_enabled() else h

    assert foldable_pairs(OnlyInTraining()) == []


class AsksKind(Switched):
    def forward(self, x):
        y = self.norm(self.layer(x))
        return F.relu(y) if isinstance(self.norm, nn.BatchNorm1d) else y


class AsksType(Switched):
    def forward(self, x):
        return self.norm(self.layer(x)).to(self.norm.weight.dtype)


@pytest.mark.parametrize("kind", [AsksKind, AsksType])
def test_networks_that_look_at_their_norms_are_refused(kind):
    with pytest.raises(ValueError, match="looks at its norms"):
        fold_batch_norms(kind())


def test_hooks_are_given_tensors_alone():
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.block = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

        def forward(self, x):
            return self.block(self.first(x))

    network, given = Blocks(), {}
    network.block.register_forward_hook(lambda module, args, output: given.update(output=output))
    network(X)
    assert foldable_pairs(network) == [] and type(given["output"]) is torch.Tensor


class Doubles(Switched):
    def forward(self, x):
        h = self.layer(x)
        return self.norm(h) + h if torch.is_grad_enabled() else self.norm(h)


def test_the_caller_does_not_decide_what_is_seen():
    with torch.no_grad():
        assert foldable_pairs(Doubles()) == []


class Draws(Switched):
    def forward(self, x):
        return self.norm(self.layer(x)) * random.random()


def test_random_numbers_in_evaluation_are_neither_a_reason_nor_used_up():
    state = random.getstate()
    fold_batch_norms(Draws())
    assert random.getstate() == state


def test_hooks_of_the_network_itself_are_outside():
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    network.register_forward_hook(lambda module, args, output: None)
    assert foldable_pairs(network) == [("0", "1")]


def test_too_many_switches_are_refused():
    class Many(Switched):
        def forward(self, x, a=False, b=False, c=False, d=False, e=False, f=False):
            return self.norm(self.layer(x))

    with pytest.raises(ValueError, match="6 optional arguments, too many"):
        foldable_pairs(Many())


@pytest.mark.parametrize("is_switch", [True, False])
def test_arguments_that_matter_together_are_seen(is_switch):
    class Both(Switched):
        def forward(self, x, mask=None, other=False if is_switch else None):
            h = self.layer(x)
            out = self.norm(h)
            if mask is not None:
                out = out * mask
                if other is not None and other is not False:
                    return out + h
            return out

    assert foldable_pairs(Both()) == []
