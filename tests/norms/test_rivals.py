"""Is section 2's faulty norm batch norm forward and a constant scale backward; are layer and group norm their formulas?"""

import pytest
import torch
from batch_norm_reference import as_maps, as_rows, backward, batch_moments, transform
from torch import nn

from bn_repro.config import BATCH_STATISTIC_NORMS, NORMS, VIRTUAL_NORMS
from bn_repro.norms import (
    BatchNorm1d,
    BatchNorm2d,
    OutsideGradientNorm,
    build_norm,
    keep_reference,
    normalizes_each_map,
    normalizing_by_batch,
    subsumes_bias,
)
from bn_repro.norms.rivals import num_groups
from bn_repro.probes import undisturbed

SHAPES = [(8, 5), (4, 5, 3, 2)]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def faulty(**kwargs):
    layer = OutsideGradientNorm(5, **kwargs).double()
    with torch.no_grad():
        layer.gamma.copy_(1 + 0.3 * drawn(5, seed=1))
        layer.beta.copy_(drawn(5, seed=2))
    return layer


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_is_batch_norms(shape):
    layer = faulty(eps=1e-3, momentum=0.3)
    batch_norm = (BatchNorm1d if len(shape) == 2 else BatchNorm2d)(5, 1e-3, 0.3).double()
    with torch.no_grad():
        batch_norm.gamma.copy_(layer.gamma)
        batch_norm.beta.copy_(layer.beta)
    for seed in (3, 4):
        x = 2 + 3 * drawn(*shape, seed=seed)
        torch.testing.assert_close(layer(x), batch_norm(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(layer(x), as_maps(transform(as_rows(x), layer.gamma, layer.beta, 1e-3), x), rtol=1e-12, atol=1e-12)
        batch_norm(x)
    torch.testing.assert_close(layer.running_mean, batch_norm.running_mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.running_var, batch_norm.running_var, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.eval()(x), batch_norm.eval()(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_backward_takes_the_statistics_for_constants(shape):
    layer = faulty()
    x, dy = (2 + 3 * drawn(*shape, seed=3)).requires_grad_(), drawn(*shape, seed=4)
    dx, dgamma, dbeta = torch.autograd.grad(layer(x), [x, layer.gamma, layer.beta], dy)
    rows = as_rows(x.detach())
    _, var = batch_moments(rows)
    torch.testing.assert_close(as_rows(dx), as_rows(dy) * layer.gamma / (var + layer.eps).sqrt(), rtol=1e-12, atol=1e-12)
    right_dx, right_dgamma, right_dbeta = backward(rows, layer.gamma.detach(), layer.eps, as_rows(dy))
    torch.testing.assert_close(dgamma, right_dgamma, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dbeta, right_dbeta, rtol=1e-12, atol=1e-12)
    assert (as_rows(dx) - right_dx).norm() > 0.1 * right_dx.norm()


@pytest.mark.parametrize("shape", SHAPES)
def test_without_scale_it_only_centers(shape):
    layer = faulty(has_scale=False)
    x, dy = (2 + 3 * drawn(*shape, seed=3)).requires_grad_(), drawn(*shape, seed=4)
    y = layer(x)
    mu, _ = batch_moments(as_rows(x))
    torch.testing.assert_close(as_rows(y), layer.gamma * (as_rows(x) - mu) + layer.beta, rtol=1e-12, atol=1e-12)
    (dx,) = torch.autograd.grad(y, x, dy)
    torch.testing.assert_close(as_rows(dx), as_rows(dy) * layer.gamma, rtol=1e-12, atol=1e-12)
    x = x.detach()
    torch.testing.assert_close(
        as_rows(layer.eval()(x)), layer.gamma * (as_rows(x) - layer.running_mean) + layer.beta, rtol=1e-12, atol=1e-12
    )


def descend_on_bias(norm, steps=50, lr=0.1):
    """Follow section 2: x = u + b, then the norm; only b learns. Return b, the losses and the first and last outputs."""
    norm.requires_grad_(False)
    u, targets = drawn(16, 5, seed=7), 2 + drawn(16, 5, seed=8)
    b = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    outputs, losses, gradients = [], [], []
    for _ in range(steps):
        y = norm(u + b)
        loss = ((y - targets) ** 2).sum() / 32
        (gradient,) = torch.autograd.grad(loss, b)
        outputs.append(y.detach())
        losses.append(loss.item())
        gradients.append(gradient)
        with torch.no_grad():
            b -= lr * gradient
    return b.detach(), losses, outputs, gradients


@pytest.mark.parametrize("has_scale", [True, False])
def test_bias_grows_while_output_and_loss_stand_still(has_scale):
    layer = OutsideGradientNorm(5, has_scale=has_scale).double()
    b, losses, outputs, gradients = descend_on_bias(layer)
    torch.testing.assert_close(outputs[-1], outputs[0], rtol=0, atol=1e-12)
    assert losses[-1] == pytest.approx(losses[0], abs=1e-12)
    u = drawn(16, 5, seed=7)
    mu, var = batch_moments(u)
    y = (u - mu) / (var + layer.eps).sqrt() if has_scale else u - mu
    dy = (y - 2 - drawn(16, 5, seed=8)) / 16
    push = dy.sum(0) / (var + layer.eps).sqrt() if has_scale else dy.sum(0)
    torch.testing.assert_close(b, -50 * 0.1 * push, rtol=1e-9, atol=1e-9)  # the same push at each of the 50 steps
    assert b.norm() > 5


def test_batch_norm_leaves_the_bias_alone():
    b, losses, _, gradients = descend_on_bias(BatchNorm1d(5).double())
    assert max(gradient.abs().max() for gradient in gradients) < 1e-14 and b.norm() < 1e-12
    assert losses[-1] == pytest.approx(losses[0], abs=1e-12)


@pytest.mark.parametrize("num_spatial_dims", [0, 2])
@pytest.mark.parametrize("name", NORMS)
def test_every_norm_of_the_config_builds(name, num_spatial_dims):
    norm = build_norm(name, 5, num_spatial_dims, eps=0.25, momentum=0.5)
    x = 1 + drawn(*SHAPES[num_spatial_dims // 2]).float()
    keep_reference(norm, x)  # which only some of the norms use
    assert norm(x).shape == x.shape and norm.eval()(x).shape == x.shape
    if name in ("none", "noisy_none"):
        assert torch.equal(norm(x), x)
    elif name in BATCH_STATISTIC_NORMS:
        norm = norm[0] if name == "noisy_batch" else norm
        assert (norm.eps, norm.momentum) == (0.25, 0.5)
        mu, _ = batch_moments(as_rows(x))
        torch.testing.assert_close(norm.running_mean.double(), mu / 2, rtol=1e-5, atol=1e-6)


def test_names_mean_what_they_say():
    assert isinstance(build_norm("none", 5, 0, 1e-5, 0.1), nn.Identity)
    assert type(build_norm("batch", 5, 0, 1e-5, 0.1)) is BatchNorm1d and type(build_norm("batch", 5, 2, 1e-5, 0.1)) is BatchNorm2d
    assert (
        build_norm("outside_gradient", 5, 0, 1e-5, 0.1).has_scale and not build_norm("outside_gradient_center", 5, 0, 1e-5, 0.1).has_scale
    )
    assert [name for name in NORMS if subsumes_bias(name)] == ["batch", "noisy_batch", *VIRTUAL_NORMS]
    assert [name for name in NORMS if not normalizes_each_map(name)] == ["layer", "group", "noisy_batch", "noisy_none"]


def normalized_by_groups(x, groups, gamma, beta, eps):
    """Each example's features, in `groups` runs of neighbours, less their mean and over their biased deviation; by loops."""
    y = torch.empty_like(x)
    size = x.shape[1] // groups
    for n in range(len(x)):
        for first in range(0, x.shape[1], size):
            values = x[n, first : first + size]
            mean = values.sum() / values.numel()
            var = ((values - mean) ** 2).sum() / values.numel()
            y[n, first : first + size] = (values - mean) / (var + eps) ** 0.5
    per_feature = (1, -1) + (1,) * (x.dim() - 2)
    return gamma.view(per_feature) * y + beta.view(per_feature)


@pytest.mark.parametrize("shape, groups", [((3, 24), 6), ((3, 24, 2, 3), 12), ((2, 10), 2), ((2, 10, 3, 1), 5)])
@pytest.mark.parametrize("name", ["layer", "group"])
def test_layer_and_group_norm_are_their_formulas(name, shape, groups):
    norm = build_norm(name, shape[1], len(shape) - 2, eps=1e-3, momentum=0.1).double()
    gamma, beta = norm.weight, norm.bias
    with torch.no_grad():
        gamma.copy_(1 + 0.3 * drawn(shape[1], seed=1))
        beta.copy_(drawn(shape[1], seed=2))
    x, dy = (2 + 3 * drawn(*shape, seed=3)).requires_grad_(), drawn(*shape, seed=4)
    expected = normalized_by_groups(x, 1 if name == "layer" else groups, gamma, beta, 1e-3)
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)
    gradients, expected_gradients = (torch.autograd.grad(y, [x, gamma, beta], dy) for y in (norm(x), expected))
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(norm.eval()(x), expected, rtol=1e-12, atol=1e-12)
    for context in (normalizing_by_batch, undisturbed):
        with context(norm):
            torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)
        assert not norm.training


def test_groups_are_32_where_there_is_room():
    assert [num_groups(n, 2) for n in (64, 96, 160, 192, 224, 256, 352)] == [32] * 7  # all of Figure 5 but
    assert num_groups(32, 2) == 16  # the projection of 3a
    assert [num_groups(n, 2) for n in (8, 16, 24, 40, 56, 88)] == [4, 8, 12, 20, 28, 22]  # at a quarter of the width
    assert [num_groups(n, 0) for n in (100, 128, 64, 7, 3, 1)] == [25, 32, 16, 1, 1, 1]
    assert [num_groups(n, 2) for n in (3, 1)] == [1, 1]


@pytest.mark.parametrize("name", ["layer", "group"])
def test_a_bias_of_each_feature_shows_through_norms_over_features(name):
    norm, u, b = build_norm(name, 8, 0, 1e-5, 0.1).double(), drawn(6, 8, seed=1), drawn(8, seed=2)
    assert (norm(u + b) - norm(u)).abs().max() > 0.1
    torch.testing.assert_close(norm(u + 7), norm(u))


def test_unknown_norm_lists_the_choices():
    with pytest.raises(ValueError) as error:
        build_norm("btch", 5, 0, 1e-5, 0.1)
    assert all(name in str(error.value) for name in ("btch", *NORMS))


def test_the_faulty_norm_keeps_statistics_under_autocast():
    norm = OutsideGradientNorm(4)
    with torch.autocast("cpu", torch.bfloat16):
        norm(nn.Linear(4, 4)(drawn(6, 4).float()))
    assert norm.running_mean.dtype == torch.float32 and norm.running_mean.abs().sum() > 0


@pytest.mark.parametrize("name", ["outside_gradient", "virtual_batch", "virtual_batch_with_example"])
@pytest.mark.parametrize("num_features, shape", [(3, (6, 1, 4, 4)), (1, (6, 5)), (3, (3,))])
def test_inputs_of_other_features_are_not_broadcast(name, num_features, shape):
    norm = build_norm(name, num_features, 2, 1e-5, 0.1)
    with pytest.raises(ValueError, match=rf"expected \(N, {num_features}, ...\), got an input of shape"):
        norm(torch.randn(shape))


def test_norms_of_sequences_and_volumes():
    for num_spatial_dims, shape in ((1, (4, 6, 5)), (3, (4, 6, 2, 3, 2))):
        for name in NORMS:
            norm = build_norm(name, 6, num_spatial_dims, 1e-5, 0.1)
            if name in VIRTUAL_NORMS:
                keep_reference(norm, torch.randn(shape))
            assert norm(torch.randn(shape)).shape == shape
    with pytest.raises(ValueError, match="num_spatial_dims=4 is none of 0, 1, 2, 3"):
        build_norm("batch", 6, 4, 1e-5, 0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_faulty_norm_of_16_bits_has_finite_statistics_and_the_inputs_type(dtype):
    """65,536 values a feature, of which float16 cannot hold the number."""
    norm = OutsideGradientNorm(2).to(dtype)
    output = norm(torch.randn(64, 2, 32, 32).to(dtype))
    assert norm.running_var.isfinite().all() and output.dtype == dtype
    assert OutsideGradientNorm(2)(torch.randn(4, 2, 3, 3).to(dtype)).dtype == dtype
