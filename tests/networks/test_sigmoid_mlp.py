"""Is the network of section 4.1 built as stated, with one switch between its two arms?"""

import dataclasses

import numpy as np
import pytest
import torch
from composed import smoke
from torch import nn
from torch.nn import functional as F

from bn_repro.config import INITS, NONLINEARITIES, NORMS
from bn_repro.networks import NormalizedTanh, NormedLayer, SigmoidMLP, build_network, build_nonlinearity, init_gaussian
from bn_repro.norms import reference_statistics

IMAGE = (28, 28)


def built(norm="batch", seed=0, **changes):
    return build_network(dataclasses.replace(smoke().network, norm=norm, **changes), IMAGE, 10, seed)


def striped_batch():
    """Sixty binary images and their classes, by arithmetic alone."""
    pixels = torch.arange(60 * 28 * 28).view(60, *IMAGE)
    classes = torch.arange(60) % 10
    return ((pixels * (classes.view(-1, 1, 1) + 3)) % 7 < 3).float(), classes


@pytest.mark.parametrize(
    "norm, keep_bias, expected",
    [
        ("none", False, 784 * 100 + 100 + 2 * (100 * 100 + 100) + 100 * 10 + 10),  # 99,710
        ("batch", False, 784 * 100 + 2 * 100 * 100 + 3 * (100 + 100) + 100 * 10 + 10),  # gamma and beta, no bias: 100,010
        ("batch", True, 100_010 + 3 * 100),
        ("outside_gradient", False, 100_010 + 3 * 100),  # its beta does not subsume the bias in the backward pass
    ],
)
def test_number_of_parameters(norm, keep_bias, expected):
    network = built(norm, keep_bias=keep_bias)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_layers():
    network = built("batch", depth=2, width=7)
    assert [type(layer) for layer in network.hidden] == [NormedLayer] * 2
    assert [tuple(layer.affine.weight.shape) for layer in network.hidden] == [(7, 784), (7, 7)]
    assert [layer.affine.bias for layer in network.hidden] == [None, None]
    assert tuple(network.output.weight.shape) == (10, 7) and network.output.bias.shape == (10,)
    settings = built("batch", norm_eps=0.25, norm_momentum=0.5).hidden[1].norm
    assert (settings.eps, settings.momentum) == (0.25, 0.5)


def test_dropout_follows_every_hidden_layer():
    network = built("none", depth=2, width=1000, drop_rate=0.4)
    inputs = {}
    network.hidden[1].register_forward_pre_hook(lambda module, args: inputs.update(second=args[0]))
    network.output.register_forward_pre_hook(lambda module, args: inputs.update(output=args[0]))
    torch.manual_seed(0)
    x, _ = striped_batch()
    network(x)
    for kept in inputs.values():  # sigmoids are never 0 by themselves
        assert (kept == 0).double().mean().item() == pytest.approx(0.4, abs=0.01)
    network.eval()(x)
    assert all((kept > 0).all() for kept in inputs.values())


def test_no_dropout_draws_nothing():
    network = built("batch")
    before = torch.get_rng_state()
    network(striped_batch()[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_same_seed_gives_both_arms_the_same_weights():
    weights = {norm: [m.weight for m in built(norm, seed=3).modules() if isinstance(m, nn.Linear)] for norm in NORMS}
    for norm in NORMS:
        assert len(weights[norm]) == 4
        assert all(torch.equal(a, b) for a, b in zip(weights[norm], weights["none"]))
    assert not torch.equal(built(seed=4).output.weight, weights["batch"][-1])


def test_initial_weights_are_small_and_gaussian():
    network = built("none", init_std=0.03)
    weights = torch.cat([m.weight.detach().double().flatten() for m in network.modules() if isinstance(m, nn.Linear)])
    num = len(weights)  # 99,400: three standard errors of each estimate
    assert abs(weights.mean()) < 3 * 0.03 / num**0.5
    assert weights.std() == pytest.approx(0.03, rel=3 / (2 * num) ** 0.5)
    assert (weights**4).mean() / weights.var() ** 2 == pytest.approx(3, abs=3 * (24 / num) ** 0.5)
    assert all((m.bias == 0).all() for m in network.modules() if isinstance(m, nn.Linear))


@pytest.mark.parametrize("init, expected", [("gaussian", 0.1), ("he", (2 / 784) ** 0.5), ("xavier", (2 / 884) ** 0.5)])
def test_every_init_of_the_config(init, expected):
    weight = built("none", init=init).hidden[0].affine.weight.detach().double()
    assert weight.std() == pytest.approx(expected, rel=3 / (2 * 78_400) ** 0.5)
    assert init in INITS and len(INITS) == 3


def test_init_draws_from_its_generator_alone():
    rng = torch.get_rng_state()
    network = SigmoidMLP(4, 3, width=5)
    torch.set_rng_state(rng)
    init_gaussian(network, torch.Generator().manual_seed(0), 1.0)
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_forward_is_the_paper_written_out(norm):
    """z = g(W u + b), or z = g(BN(W u)): the norm stands immediately before the nonlinearity (section 3.2)."""
    network = built(norm, init_std=0.5).double()
    x, _ = striped_batch()
    u = x.double().view(60, 784)
    for layer in network.hidden:
        a = u @ layer.affine.weight.T
        if norm == "batch":
            a = (a - a.mean(0)) / (a.var(0, correction=0) + 1e-5).sqrt()
        u = 1 / (1 + (-a).exp())
    torch.testing.assert_close(network(x.double()), u @ network.output.weight.T, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("norm, expected", [("none", [2.373578, 2.329450, 2.298952]), ("batch", [2.389434, 1.660143, 1.347476])])
def test_first_losses_are_pinned(norm, expected):
    """Two steps of SGD at 0.5 on one batch; a change here changes every published number."""
    network = built(norm)
    x, y = striped_batch()
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(network(x), y)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients):
                parameter -= 0.5 * gradient
    assert losses == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_every_choice_of_the_config_builds(norm, nonlinearity):
    network = built(norm, nonlinearity=nonlinearity, width=5)
    x, y = striped_batch()
    with reference_statistics(network, x.flip(0)):  # which only some of the norms use
        F.cross_entropy(network(x), y).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_nonlinearities_are_what_they_are_called():
    x = torch.tensor([-2.0, 0.5])
    expected = {"sigmoid": [0.1192029, 0.6224593], "tanh": [-0.9640276, 0.4621172], "relu": [0.0, 0.5], "identity": [-2.0, 0.5]}
    expected["normalized_tanh"] = [-0.9017481, 0.4322627]  # both by their length, 1.0690655
    assert set(expected) == set(NONLINEARITIES)
    for name, values in expected.items():
        assert build_nonlinearity(name)(x[None].clone())[0].tolist() == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("shape", [(4, 7), (4, 3, 5, 5)])
def test_normalized_tanh_equals_a_plain_reference(shape):
    h = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = [np.tanh(example) / np.sqrt((np.tanh(example) ** 2).sum()) for example in h.detach().numpy()]
    np.testing.assert_allclose(NormalizedTanh()(h).detach().numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(NormalizedTanh(), h)


def test_normalized_tanh_of_nothing_is_nothing():
    h = torch.zeros(2, 3, requires_grad=True)
    out = NormalizedTanh()(h)
    out.sum().backward()
    assert (out == 0).all() and h.grad.isfinite().all()


def test_unknown_nonlinearity_lists_the_choices():
    with pytest.raises(ValueError) as error:
        build_nonlinearity("sigmod")
    assert all(name in str(error.value) for name in ("sigmod", *NONLINEARITIES))
