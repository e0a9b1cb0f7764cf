"""Networks on which measurements were once wrong without a word, each beside a reference of its own, or refused in one line."""

import random
from collections import deque
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bn_repro import plot
from bn_repro.networks import NormedLayer, SigmoidMLP
from bn_repro.networks.text_classifier import concat_pooling
from bn_repro.norms import OutsideGradientNorm, fold_batch_norms, foldable_pairs
from bn_repro.norms.virtual_batch_norm import VirtualBatchNorm, keep_reference
from bn_repro.probes import (
    ActivationProbe,
    ActivationRecorder,
    Site,
    folding_error,
    gradient_shift,
    landscape_along_gradient,
    layer_jacobians,
    magnitudes,
    scale_invariance_errors,
    step_cost,
)

WIDE, OPEN = (-20.0, 20.0), (-np.inf, np.inf)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, Y = drawn(6, 4), torch.arange(6) % 3


def generator():
    return torch.Generator().manual_seed(3)


def means(network, place, x):
    site = Site("here", place, True, WIDE, OPEN)
    return ActivationProbe(network, [site])(x)[1]["here/mean"]


class Weighted(nn.Module):
    """Two layers; subclasses do something more with them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.b(F.relu(self.a(x)))


# Virtual batch norm: the batch is measured, not the reference that passes ahead of it.


def with_reference():
    network = SigmoidMLP(4, 3, depth=2, width=5, norm="virtual_batch")
    keep_reference(network, 0.01 * drawn(7, 4, seed=1))
    return network


def test_the_batch_is_measured_and_not_the_reference():
    network = nn.Sequential(nn.Linear(4, 4), VirtualBatchNorm(4))
    keep_reference(network, 0.01 * drawn(5, 4))
    assert means(network, network[0], drawn(50, 4) + 10) == pytest.approx((drawn(50, 4) + 10).mean().item(), rel=1e-5)


def test_magnitudes_are_of_the_batch():
    network = with_reference()
    seen = []
    network.hidden[0].affine.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    network(X)
    assert len(seen) == 2  # the reference's and the batch's
    measured = magnitudes(network, F.cross_entropy, X, Y)["hidden.0/affine"]
    assert measured == pytest.approx(seen[1].square().mean().sqrt().item(), rel=1e-5)


def test_jacobians_are_at_the_batch():
    network = with_reference()
    found = layer_jacobians(network, X, generator(), has_nonlinearity=True)["hidden.0/singular_values"][0]
    layer = network.hidden[0]
    with torch.no_grad():  # the statistics are those of the layer's own batch, as of every norm in this measure
        weight = layer.affine.weight.double()
        h = X.double() @ weight.T
        scale = (h.var(0, correction=0) + layer.norm.eps).rsqrt()
        g = torch.sigmoid((h[0] - h.mean(0)) * scale)
        expected = torch.linalg.svdvals((g * (1 - g) * scale)[:, None] * weight)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_wrapper_leaves_the_reference_where_it_is():
    network = with_reference()
    logits, _ = ActivationProbe(nn.Sequential(network), [])(X)
    torch.testing.assert_close(logits, network(X))


# What goes in is measured before it can be changed.


def test_inputs_changed_in_place_are_seen_as_they_came():
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True))
    site = Site("in", network[1], True, WIDE, OPEN)
    _, arrays = ActivationProbe(network, [site])(drawn(50, 4))
    with torch.no_grad():
        expected = np.percentile(network[0](drawn(50, 4)).numpy(), [15, 50, 85])
    np.testing.assert_allclose(arrays["in/percentiles"], expected, rtol=1e-5)


class CentredNorm(nn.Module):
    def forward(self, x):
        return x.sub_(x.mean(0))


def test_the_recorder_sees_inputs_as_they_came():
    network = nn.Sequential(nn.Linear(4, 8), CentredNorm())
    nn.init.constant_(network[0].bias, 5.0)
    with ActivationRecorder(network, every=1) as recorder:
        network(drawn(50, 4))
    arrays = recorder.arrays()
    assert arrays["1/in/mean"][0] == pytest.approx(arrays["0/out/mean"][0]) and arrays["1/in/mean"][0] > 4


# Gradients.


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
    with no_grad():
        assert magnitudes(network, F.cross_entropy, X, Y) == magnitudes(network, F.cross_entropy, X, Y)
        gradient_shift(network, optimizer, F.cross_entropy, X, Y)
        landscape_along_gradient(network, F.cross_entropy, X, Y, 0.1)
        layer_jacobians(network, X, generator())
        scale_invariance_errors(network, X, 10.0, generator())


# State.


class Momentum(nn.Module):
    """A key encoder that follows a query encoder in the forward pass, and what else a network may keep."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(4, 3), nn.Linear(4, 3).requires_grad_(False)
        self.numbers, self.of_numpy = random.Random(0), np.random.default_rng(0)
        self.cache, self.seen, self.last = {}, set(), deque(maxlen=2)

    def forward(self, x):
        with torch.no_grad():
            for key, query in zip(self.key.parameters(), self.query.parameters()):
                key.data = 0.9 * key.data + 0.1 * query.data
        self.cache[len(self.cache)] = x
        self.seen.add(len(self.seen))
        self.last.append(self.numbers.random() + self.of_numpy.random())
        return self.query(x) + self.key(x)


def test_frozen_averages_and_own_collections_are_put_back():
    network = Momentum()
    optimizer = torch.optim.SGD(network.query.parameters(), 0.1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    next_numbers = random.Random(0).random(), np.random.default_rng(0).random()
    ActivationProbe(network, [Site("here", network.query, False, WIDE, OPEN)])(X)
    magnitudes(network, F.cross_entropy, X, Y)
    gradient_shift(network, optimizer, F.cross_entropy, X, Y)
    landscape_along_gradient(network, F.cross_entropy, X, Y, 0.1)
    step_cost(network, Weighted(), F.cross_entropy, X, Y, 1, 1)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.cache and not network.seen and not network.last
    assert (network.numbers.random(), network.of_numpy.random()) == next_numbers


def test_lazy_networks_are_refused_and_stay_lazy():
    network = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.Linear(8, 3))
    site = Site("here", network[2], False, WIDE, OPEN)
    for measure in (lambda: ActivationProbe(network, [site])(X), lambda: step_cost(network, Weighted(), F.cross_entropy, X, Y, 1, 1)):
        with pytest.raises(ValueError, match=r"is made by its first pass"):
            measure()
    assert isinstance(network[0], nn.LazyLinear)


# The paper's identities.


def test_what_is_not_finite_is_not_exact():
    network = nn.Sequential(NormedLayer(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sigmoid()))
    network[0].affine.weight.data[0, 0] = torch.nan
    assert all(np.isnan(error) for error in scale_invariance_errors(network, X, 2.0, generator()).values())


class PreNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.affine = nn.BatchNorm1d(4), nn.Linear(4, 4)

    def forward(self, u):
        return self.affine(self.norm(u))


def test_a_norm_that_stands_before_its_layer_is_no_layer():
    with pytest.raises(ValueError, match=r"calls no layer that is norm\(affine\(u\)\)"):
        scale_invariance_errors(nn.Sequential(PreNorm()), X, 2.0, generator())


def test_identities_hold_under_autocast_as_without():
    network = SigmoidMLP(4, 3, depth=2, width=5, norm="batch")
    expected = scale_invariance_errors(network, drawn(30, 4), 10.0, generator())
    with torch.autocast("cpu", torch.bfloat16):
        errors = scale_invariance_errors(network, drawn(30, 4), 10.0, generator())
    assert errors == pytest.approx(expected, rel=0.2)  # inputs of the layers come from passes of 16 bits


def test_folding_compares_what_has_numbers():
    class WithMask(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x):
            y = self.norm(self.layer(x))
            return y, y > 0

    assert folding_error(WithMask(), X)[1] < 1e-5
    with pytest.raises(ValueError, match="nothing can be compared"):
        folding_error(WithMask(), X[:0])


# Folding.


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


# Norms, heads, drawings.


def test_the_mean_of_many_tokens_fits_half_precision():
    outputs = (drawn(1, 600, 4) + 200).half()
    for is_real in (torch.ones(1, 600, dtype=torch.bool), torch.ones(1, 600, dtype=torch.int64)):
        pooled = concat_pooling(outputs, is_real)
        torch.testing.assert_close(pooled[:, 8:].float(), outputs.float().mean(1), rtol=1e-3, atol=0)


def test_the_faulty_norm_keeps_statistics_under_autocast():
    norm = OutsideGradientNorm(4)
    with torch.autocast("cpu", torch.bfloat16):
        norm(nn.Linear(4, 4)(X))
    assert norm.running_mean.dtype == torch.float32 and norm.running_mean.abs().sum() > 0


def recorded(network, **settings):
    with ActivationRecorder(network, every=1, **settings) as recorder:
        for seed in range(3):
            network(drawn(40, 4, seed=seed))
    return recorder.arrays()


def test_ridges_of_unlike_bins_have_a_common_range():
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    wide, narrow = recorded(network), recorded(network, bounds=(-3.0, 3.0), num_bins=50)
    limits = [plot.ridges(of, "out").axes[0].get_xlim() for of in ({"a": wide, "b": narrow}, {"a": wide}, {"b": narrow})]
    assert limits[0] == pytest.approx((min(limits[1][0], limits[2][0]), max(limits[1][1], limits[2][1])))


def test_drift_is_drawn_where_all_were_recorded():
    plain, normed = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    both = {"plain": recorded(plain), "normed": recorded(normed)}
    assert len(plot.drift(both).axes) == 3  # two panels and the scale
    with pytest.raises(ValueError, match="nothing was recorded at 'in' of plain"):
        plot.drift(both, "in")
