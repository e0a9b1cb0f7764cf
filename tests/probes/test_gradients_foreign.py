"""Are gradients those that training makes, whatever optimizer, loss and parts a network has?"""

import threading
from functools import partial

import pytest
import torch
from foreign import Weighted, X, Y, drawn, generator
from torch import nn
from torch.nn import functional as F

from bn_repro.networks import SigmoidMLP
from bn_repro.probes import (
    gradient_shift,
    landscape_along_gradient,
    layer_jacobians,
    magnitudes,
    scale_invariance_errors,
    step_cost,
)


def test_parameters_held_elsewhere_are_refused():
    class Elsewhere(Weighted):
        def __init__(self):
            super().__init__()
            self.held = [self.a.weight]

        def forward(self, x):
            return super().forward(x) + F.linear(x, self.held[0])[:, :3]

    network = Elsewhere()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for measure in (
        lambda: magnitudes(network, F.cross_entropy, X, Y),
        lambda: gradient_shift(network, optimizer, F.cross_entropy, X, Y),
        lambda: landscape_along_gradient(network, F.cross_entropy, X, Y, 0.1),
    ):
        with pytest.raises(ValueError, match=r"parameter 'a\.weight' is also used from where no name"):
            measure()


class Scaled(torch.optim.SGD):
    factor = 1.0

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(self.factor)
        return super().step(closure)


def test_attributes_of_an_optimizer_count():
    network = Weighted()
    scaled = Scaled(network.parameters(), 0.1)
    scaled.factor = 0.01
    plain = torch.optim.SGD(network.parameters(), 0.001)
    found, expected = (gradient_shift(network, optimizer, F.cross_entropy, X, Y)["b/shift"] for optimizer in (scaled, plain))
    assert found == pytest.approx(expected, rel=1e-3) and expected > 0


def test_a_compiled_part_is_refused():
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    network[2].compile(backend="eager")
    with pytest.raises(ValueError, match="module '2' is compiled"):
        gradient_shift(network, optimizer, F.cross_entropy, X, Y)


def test_a_bare_layer_has_no_layers_before_it():
    layer = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    assert gradient_shift(layer, optimizer, F.cross_entropy, X, Y)["/shift"] == 0


@pytest.mark.parametrize("lr, multiples", [(0.0, (1.0,)), (-0.1, (1.0,)), (0.1, (0.0, 1.0)), (0.1, ())])
def test_steps_along_the_gradient_are_positive(lr, multiples):
    with pytest.raises(ValueError, match="must be positive"):
        landscape_along_gradient(Weighted(), F.cross_entropy, X, Y, lr, multiples)


def test_targets_may_be_changed_in_place():
    network, y = nn.Linear(4, 1), torch.ones(6, 1)
    landscape_along_gradient(network, lambda output, target: F.mse_loss(output, target.mul_(0.5)), X, y, 0.1)
    assert (y == 1).all()


def test_gradients_of_a_loss_stay_none():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(drawn(3, 8))

        def forward(self, output, y):
            return F.cross_entropy(F.linear(output, self.weight), y)

    head = Head()
    step_cost(nn.Linear(4, 8), nn.Linear(4, 8), head, X, Y, 1, 1)
    assert head.weight.grad is None


class Centred(nn.Module):
    """A loss that follows what it is given."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, output, y):
        self.centre.lerp_(output.detach().mean(0), 0.1)
        return F.cross_entropy(output - self.centre, y)


def test_buffers_of_a_loss_that_is_wrapped_are_put_back():
    loss = Centred()
    for loss_fn in (loss, loss.forward, partial(partial(loss))):
        magnitudes(Weighted(), loss_fn, X, Y)
        assert (loss.centre == 0).all()


def test_scripted_parts_are_refused():
    network = nn.Sequential(torch.jit.script(nn.Linear(4, 4)), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for measure in (
        lambda: gradient_shift(network, optimizer, F.cross_entropy, X, Y),
        lambda: magnitudes(network, F.cross_entropy, X, Y),
        lambda: layer_jacobians(network, X, generator()),
    ):
        with pytest.raises(ValueError, match="its module '0' is scripted"):
            measure()


@pytest.mark.parametrize("no_grad", [torch.no_grad, torch.inference_mode])
def test_measures_enable_the_gradients_that_they_need(no_grad):
    network = SigmoidMLP(4, 3, depth=2, width=5, norm="batch")
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    of_magnitudes = magnitudes(network, F.cross_entropy, X, Y)
    of_shift = gradient_shift(network, optimizer, F.cross_entropy, X, Y)
    with no_grad():
        assert magnitudes(network, F.cross_entropy, X, Y) == of_magnitudes
        assert gradient_shift(network, optimizer, F.cross_entropy, X, Y) == of_shift
        landscape_along_gradient(network, F.cross_entropy, X, Y, 0.1)
        layer_jacobians(network, X, generator())
        scale_invariance_errors(network, X, 10.0, generator())


@pytest.mark.parametrize("held", [threading.Lock(), (2 * torch.ones(1, requires_grad=True)).sum()])
def test_attributes_that_cannot_be_copied_are_shared(held):
    network = Weighted()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    expected = gradient_shift(network, optimizer, F.cross_entropy, X, Y)
    optimizer.held = held
    assert gradient_shift(network, optimizer, F.cross_entropy, X, Y) == expected


def test_a_function_of_its_own_may_keep_a_variable():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.variable = 2
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return ctx.variable * gradient

    class WithTwice(Weighted):
        def forward(self, x):
            return Twice.apply(super().forward(x))

    assert step_cost(WithTwice(), Weighted(), F.cross_entropy, X, Y, 1, 1)["memory"] > 0


@pytest.mark.parametrize("register", ["register_step_pre_hook", "register_step_post_hook"])
def test_an_optimizer_with_hooks_on_its_step_is_refused(register):
    network = Weighted()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    hook = getattr(optimizer, register)(lambda *_: None)
    with pytest.raises(ValueError, match="SGD has hooks on its step"):
        gradient_shift(network, optimizer, F.cross_entropy, X, Y)
    hook.remove()
    gradient_shift(network, optimizer, F.cross_entropy, X, Y)


def test_one_name_in_place_of_a_list_is_refused():
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(11)))
    with pytest.raises(ValueError, match=r"layers='10' is one name; give a list, layers=\['10'\]"):
        gradient_shift(network, torch.optim.SGD(network.parameters(), 0.1), F.cross_entropy, X, Y, layers="10")
    with pytest.raises(ValueError, match="is one name"):
        layer_jacobians(network, X, generator(), layers="10")
