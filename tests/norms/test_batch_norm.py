"""Is the layer Algorithm 1 in training and Algorithm 2 at inference, and torch's own in every other respect?"""

import copy

import pytest
import torch
from batch_norm_reference import as_maps, as_rows, backward, batch_moments, inference, transform
from torch import nn

from bn_repro.norms import BatchNorm1d, BatchNorm2d, BatchNorm3d

EPS = 1e-5
NO_EPS = 1e-30  # torch refuses 0; in float64 this vanishes beside any variance here
LAYERS = {
    "1d": (BatchNorm1d, nn.BatchNorm1d, (8, 5)),
    "1d_locations": (BatchNorm1d, nn.BatchNorm1d, (4, 5, 6)),
    "2d": (BatchNorm2d, nn.BatchNorm2d, (4, 5, 3, 6)),
    "3d": (BatchNorm3d, nn.BatchNorm3d, (3, 5, 2, 3, 2)),
}
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 3e-3}


@pytest.fixture(params=LAYERS)
def case(request):
    return LAYERS[request.param]


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def twins(ours, theirs, dtype=torch.float64, **kwargs):
    """Return our layer and torch's with the same drawn gamma and beta, and statistics that are not the initial ones."""
    layer = ours(5, **kwargs).to(dtype)
    with torch.no_grad():
        if layer.affine:
            layer.weight.copy_(1 + 0.3 * drawn(5, seed=1))
            layer.bias.copy_(0.3 * drawn(5, seed=2))
        if layer.track_running_stats:
            layer.running_mean.copy_(drawn(5, seed=3))
            layer.running_var.copy_(0.5 + drawn(5, seed=4) ** 2)
    other = theirs(5, **kwargs).to(dtype)
    other.load_state_dict(layer.state_dict())
    return layer, other


def output_and_gradients(layer, x, dy):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    parameters = [p for p in layer.parameters()]
    return y.detach(), *torch.autograd.grad(y, [x, *parameters], dy.to(y.dtype))


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float64).view(-1, 1)


def test_reference_on_three_numbers():
    """x = -1, 0, 1: mu = 0, var = 2/3; dy = 1, 0, 0 gives dx = sqrt(3/2) (1/6, -1/3, 1/6)."""
    x, dy, one, zero = column(-1, 0, 1), column(1, 0, 0), column(1)[0], column(0)[0]
    root = 1.5**0.5
    torch.testing.assert_close(transform(x, one, zero, 0.0), column(-root, 0, root), rtol=0, atol=1e-15)
    dx, dgamma, dbeta = backward(x, one, 0.0, dy)
    torch.testing.assert_close(dx, root * column(1 / 6, -1 / 3, 1 / 6), rtol=0, atol=1e-15)
    assert dgamma.item() == pytest.approx(-root) and dbeta.item() == 1


def test_backward_equations_are_the_gradient_of_algorithm_1():
    x, gamma, beta = (t.requires_grad_() for t in (3 + 2 * drawn(7, 4), 1 + drawn(4, seed=1), drawn(4, seed=2)))
    dy = drawn(7, 4, seed=3)
    by_autograd = torch.autograd.grad(transform(x, gamma, beta, 0.1), [x, gamma, beta], dy)
    for ours, theirs in zip(backward(x.detach(), gamma.detach(), 0.1, dy), by_autograd):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eps", [EPS, 0.5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_training_is_algorithm_1(case, dtype, eps):
    ours, theirs, shape = case
    layer, other = twins(ours, theirs, dtype, eps=eps, momentum=0.3)
    x, dy = (3 + 2 * drawn(*shape, seed=5)).to(dtype), drawn(*shape, seed=6).to(dtype)
    gamma, beta = layer.weight.detach().double(), layer.bias.detach().double()
    mean, var = layer.running_mean.clone().double(), layer.running_var.clone().double()
    rows = as_rows(x)

    got = output_and_gradients(layer, x, dy)
    dx, dgamma, dbeta = backward(rows, gamma, eps, as_rows(dy))
    expected = as_maps(transform(rows, gamma, beta, eps), x), as_maps(dx, x), dgamma, dbeta
    for name, value, reference in zip(("y", "dx", "dgamma", "dbeta"), got, expected):
        torch.testing.assert_close(
            value.double(), reference, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype], msg=lambda m, n=name: f"{n}: {m}"
        )

    mu, biased = batch_moments(rows)
    m = len(rows)
    torch.testing.assert_close(layer.running_mean.double(), 0.7 * mean + 0.3 * mu, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
    torch.testing.assert_close(
        layer.running_var.double(), 0.7 * var + 0.3 * biased * m / (m - 1), rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype]
    )
    assert layer.num_batches_tracked == 1

    for value, reference in zip(got, output_and_gradients(other, x, dy)):
        assert torch.equal(value, reference)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_gradcheck(case):
    ours, theirs, shape = case
    for is_training in (True, False):
        layer, _ = twins(ours, theirs)
        layer.train(is_training)
        tensors = drawn(*shape).requires_grad_(), layer.weight, layer.bias

        def output(x, weight, bias, layer=layer):
            return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, x)

        assert torch.autograd.gradcheck(output, tensors)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_inference_is_algorithm_2(case, dtype):
    ours, theirs, shape = case
    layer, other = (module.eval() for module in twins(ours, theirs, dtype))
    before = copy.deepcopy(layer.state_dict())
    x = (3 + 2 * drawn(*shape)).to(dtype)
    statistics = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    expected = as_maps(inference(as_rows(x), *(t.detach().double() for t in statistics), EPS), x)
    y = layer(x)
    torch.testing.assert_close(y.double(), expected, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
    assert torch.equal(y, other(x))
    assert torch.equal(layer(x[:1]), y[:1])  # an example's output depends on no other example
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())

    scale, shift = layer.inference_affine()
    per_map = (1, -1) + (1,) * (x.dim() - 2)
    torch.testing.assert_close(scale.view(per_map) * x + shift.view(per_map), y, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_mixed", [False, True], ids=["half", "float32_parameters"])
def test_half_precision(case, dtype, is_mixed):
    ours, theirs, shape = case
    layer, other = twins(ours, theirs, torch.float32 if is_mixed else dtype)
    x, dy = (1 + drawn(*shape)).to(dtype), drawn(*shape, seed=6).to(dtype)
    gamma, beta = layer.weight.detach().double(), layer.bias.detach().double()
    got = output_and_gradients(layer, x, dy)
    assert got[0].dtype == got[1].dtype == dtype
    expected = as_maps(transform(as_rows(x), gamma, beta, EPS), x)
    torch.testing.assert_close(got[0].double(), expected, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
    for value, reference in zip(got, output_and_gradients(other, x, dy)):
        assert torch.equal(value, reference)
    assert torch.equal(layer.running_var, other.running_var)
    assert torch.equal(layer.eval()(x), other.eval()(x))


@pytest.mark.parametrize("name, memory_format", [("2d", torch.channels_last), ("3d", torch.channels_last_3d)])
def test_channels_last(name, memory_format):
    ours, theirs, shape = LAYERS[name]
    layer, _ = twins(ours, theirs)
    plain = copy.deepcopy(layer)
    x, dy = 2 + drawn(*shape), drawn(*shape, seed=6)
    got = output_and_gradients(layer, x.to(memory_format=memory_format), dy.to(memory_format=memory_format))
    assert got[0].is_contiguous(memory_format=memory_format) and got[1].is_contiguous(memory_format=memory_format)
    for value, reference in zip(got, output_and_gradients(plain, x, dy)):
        torch.testing.assert_close(value, reference, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.running_var, plain.running_var, rtol=1e-12, atol=0)


def test_convolution_normalizes_over_batch_and_locations():
    """One 2x2 map of 0, 1, 2, 3: m' = 4, mu = 3/2, var = 5/4, unbiased 5/3."""
    layer = BatchNorm2d(1, eps=NO_EPS).double()
    y = layer(column(0, 1, 2, 3).view(1, 1, 2, 2))
    torch.testing.assert_close(y.view(-1, 1), column(-1.5, -0.5, 0.5, 1.5) / 1.25**0.5)
    assert layer.running_mean.item() == pytest.approx(0.1 * 1.5)
    assert layer.running_var.item() == pytest.approx(0.9 + 0.1 * 5 / 3)


def test_momentum_none_averages_all_batches(case):
    ours, theirs, shape = case
    layer, other = (module for module in twins(ours, theirs, momentum=None))
    layer.reset_running_stats()
    other.reset_running_stats()
    batches = [k + k * drawn(*shape, seed=k) for k in (1, 2, 3)]
    for x in batches:
        layer(x)
        other(x)
    moments = [batch_moments(as_rows(x)) for x in batches]
    m = len(as_rows(batches[0]))
    torch.testing.assert_close(layer.running_mean, sum(mu for mu, _ in moments) / 3)
    torch.testing.assert_close(layer.running_var, sum(var for _, var in moments) / 3 * m / (m - 1))
    assert torch.equal(layer.running_var, other.running_var) and layer.num_batches_tracked == 3


def test_without_affine(case):
    ours, theirs, shape = case
    layer, other = twins(ours, theirs, affine=False)
    assert layer.gamma is None and layer.beta is None and not list(layer.parameters())
    x = 2 + drawn(*shape)
    ones, zeros = torch.ones(5).double(), torch.zeros(5).double()
    torch.testing.assert_close(layer(x), as_maps(transform(as_rows(x), ones, zeros, EPS), x), rtol=1e-12, atol=1e-12)
    other(x)
    assert torch.equal(layer.eval()(x), other.eval()(x))
    scale, shift = layer.inference_affine()
    per_map = (1, -1) + (1,) * (x.dim() - 2)
    torch.testing.assert_close(scale.view(per_map) * x + shift.view(per_map), layer(x), rtol=1e-12, atol=1e-12)


def test_without_running_statistics(case):
    ours, theirs, shape = case
    layer, other = twins(ours, theirs, track_running_stats=False)
    assert layer.running_mean is None and layer.running_var is None and layer.num_batches_tracked is None
    x = 2 + drawn(*shape)
    y = layer(x)
    assert torch.equal(y, layer.eval()(x)) and torch.equal(y, other.eval()(x))
    with pytest.raises(ValueError, match="track_running_stats=False"):
        layer.inference_affine()


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}], ids=str)
def test_weights_travel_to_and_from_torch(case, options):
    ours, theirs, _ = case
    layer, other = ours(5, **options), theirs(5, **options)
    assert {n: (t.shape, t.dtype) for n, t in layer.state_dict().items()} == {n: (t.shape, t.dtype) for n, t in other.state_dict().items()}
    filled = {name: torch.full_like(tensor, 3) for name, tensor in other.state_dict().items()}
    for receiver in (layer, other):
        receiver.load_state_dict(filled)
        assert all((tensor == 3).all() for tensor in receiver.state_dict().values())
    layer.load_state_dict(other.state_dict())
    other.load_state_dict(layer.state_dict())
    assert isinstance(layer, theirs)
    assert (layer.eps, layer.momentum, layer.affine, layer.extra_repr()) == (other.eps, other.momentum, other.affine, other.extra_repr())


def test_paper_names_are_torchs_tensors():
    layer = BatchNorm1d(5)
    assert layer.gamma is layer.weight and layer.beta is layer.bias
    assert (layer.gamma == 1).all() and (layer.beta == 0).all() and (layer.eps, layer.momentum) == (1e-5, 0.1)


def outcome(layer, x):
    """Return what a call does: (exception type, message), or the output, gradient and statistics."""
    try:
        y = layer(x := x.clone().requires_grad_())
        y.sum().backward()
    except Exception as error:
        return type(error), str(error)
    return [y.detach(), x.grad, layer.running_mean, layer.running_var]


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("num, shape", [(1, (5,)), (1, (5, 1)), (1, (5, 1, 1)), (1, (5, 1, 1, 1)), (1, (5, 2, 2)), (0, (5,)), (0, (5, 3)),
                                        (0, (5, 2, 2)), (0, (5, 2, 2, 2)), (3, (4,)), (3, (4, 2, 2)), (3, ())], ids=str)  # fmt: skip
def test_odd_inputs_do_what_they_do_in_torch(case, num, shape, is_training):
    ours, theirs, _ = case
    layer, other = (module.train(is_training) for module in twins(ours, theirs))
    x = drawn(num, *shape)
    got, expected = outcome(layer, x), outcome(other, x)
    if isinstance(expected, tuple):
        assert got == expected
    else:
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_a_batch_of_one_has_no_variance():
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        BatchNorm1d(5)(torch.ones(1, 5))
    BatchNorm1d(5).eval()(torch.ones(1, 5))
    BatchNorm2d(5)(torch.rand(1, 5, 2, 2))  # four locations are a batch of four


def test_identity_is_within_reach(case):
    """gamma = sqrt(Var[x]) and beta = E[x] undo the normalization (section 3)."""
    ours, _, shape = case
    x = 3 + 2 * drawn(*shape)
    mu, var = batch_moments(as_rows(x))
    layer = ours(5, eps=NO_EPS).double()
    with torch.no_grad():
        layer.gamma.copy_(var.sqrt())
        layer.beta.copy_(mu)
    torch.testing.assert_close(layer(x), x, rtol=1e-13, atol=1e-13)
    layer.running_mean.copy_(mu)
    layer.running_var.copy_(var)
    torch.testing.assert_close(layer.eval()(x), x, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("a", [8.0, 0.01, 1e4])
def test_scale_of_the_weights_does_not_matter(a):
    """BN(Wu) = BN((aW)u); dBN((aW)u)/du = dBN(Wu)/du; dBN((aW)u)/d(aW) = dBN(Wu)/dW / a (section 3.3, eps -> 0)."""
    weight, dy = drawn(5, 6, seed=1), drawn(9, 5, seed=2)

    def run(weight):
        layer = BatchNorm1d(5, eps=NO_EPS).double()
        u, weight = drawn(9, 6).requires_grad_(), weight.clone().requires_grad_()
        y = layer(u @ weight.T)
        return y, *torch.autograd.grad(y, [u, weight], dy)

    (y, du, dw), (y_a, du_a, dw_a) = run(weight), run(a * weight)
    torch.testing.assert_close(y_a, y, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(du_a, du, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(dw_a, dw / a, rtol=1e-11, atol=1e-11 / a)
