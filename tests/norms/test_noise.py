"""Is the noise after batch norm drawn as published, in training alone or when asked for, and is a noisy run still exact?"""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bn_repro.networks import SigmoidMLP
from bn_repro.norms import ActivationNoise, batch_norms, fold_batch_norms, noise_from
from bn_repro.probes import ActivationProbe, scale_invariance_errors, sites_around


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def noises(num_steps, size=4000):
    """Return (mean, spread, lowest, highest) of m, then of s, for some steps: rows of m = noise(0), s = noise(1) - m."""
    rows = []
    for step in range(num_steps):
        m = noise_of(torch.zeros(size, dtype=torch.float64), step)
        s = noise_of(torch.ones(size, dtype=torch.float64), step) - m
        rows.append([(v.mean(), v.std(), v.min(), v.max()) for v in (m, s)])
    return torch.tensor(rows)  # (steps, m or s, statistic)


def noise_of(x, seed):
    noise = ActivationNoise().eval()
    with noise_from(noise, seeded(seed)):
        return noise(x)


def test_the_distributions_are_the_published_ones():
    """One mu and sigma a step; m is uniform within 0.1 of mu, s gaussian of deviation 0.1 around sigma."""
    m, s = noises(400).unbind(1)
    mu, sigma = m[:, 0], s[:, 0]
    assert -0.5 < mu.min() < -0.47 and 0.47 < mu.max() < 0.5 and abs(mu.mean()) < 3 * (1 / 12 / 400) ** 0.5
    assert 0.99 < sigma.min() < 1.02 and 1.23 < sigma.max() < 1.26 and abs(sigma.mean() - 1.125) < 3 * 0.25 * (1 / 12 / 400) ** 0.5
    assert mu.std() == pytest.approx(12**-0.5, rel=0.1) and sigma.std() == pytest.approx(0.25 * 12**-0.5, rel=0.1)
    torch.testing.assert_close(m[:, 1], torch.full_like(mu, 0.2 * 12**-0.5), rtol=0.05, atol=0)
    torch.testing.assert_close(s[:, 1], torch.full_like(mu, 0.1), rtol=0.05, atol=0)
    middle = (m[:, 2] + m[:, 3]) / 2
    assert (m[:, 3] - m[:, 2]).max() <= 0.2 and (middle - mu).abs().max() < 0.01
    assert abs(torch.corrcoef(torch.stack([mu, sigma]))[0, 1]) < 0.15


def test_it_is_the_identity_outside_of_training():
    noise, x, rng = ActivationNoise().eval(), drawn(8, 5), torch.get_rng_state()
    assert noise(x) is x
    with noise_from(noise, None):
        assert noise(x) is x
    with pytest.raises(RuntimeError), noise_from(noise, seeded(0)):
        assert not torch.equal(noise(x), x)
        raise RuntimeError
    assert noise(x) is x and torch.equal(torch.get_rng_state(), rng)


def test_in_training_it_draws_from_the_global_generator():
    noise, x = ActivationNoise(), drawn(8, 5)
    torch.manual_seed(3)
    first, state, second = noise(x), torch.get_rng_state(), noise(x)
    torch.set_rng_state(state)
    assert torch.equal(noise(x), second) and not torch.equal(first, second)
    torch.testing.assert_close(first, noise_of(x, 3))


def test_the_gradient_takes_the_noise_for_a_constant():
    x = drawn(8, 5).double().requires_grad_()
    (gradient,) = torch.autograd.grad(noise_of(x, 0).sum(), x)
    torch.testing.assert_close(gradient, noise_of(torch.ones_like(x), 0) - noise_of(torch.zeros_like(x), 0))
    assert noise_of(drawn(8, 5).bfloat16(), 0).dtype == torch.bfloat16


def trained(norm, steps=20):
    torch.manual_seed(0)
    network = SigmoidMLP(16, 3, width=8, norm=norm)
    x, y = drawn(40, 16), torch.arange(40) % 3
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network, x


@pytest.mark.parametrize("norm, num_norms", [("noisy_batch", 3), ("noisy_none", 0)])
def test_a_noisy_network_folds_at_inference(norm, num_norms):
    network, x = trained(norm)
    folded = fold_batch_norms(network)
    assert len(batch_norms(network)) == num_norms and not batch_norms(folded)
    torch.testing.assert_close(folded(x), network.eval()(x))


def test_probes_draw_nothing_unless_given_a_generator():
    network, x = trained("noisy_batch")
    sites, rng = sites_around(network), torch.get_rng_state()
    probe = ActivationProbe(network, sites)
    still, arrays = probe(x)
    noisy, noisy_arrays = probe(x, noise=seeded(1))
    again, _ = probe(x, noise=seeded(1))
    scale_invariance_errors(network, x, 10.0, seeded(0))
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(probe(x)[0], still) and torch.equal(noisy, again) and not torch.equal(noisy, still)
    without = copy.deepcopy(network)
    for layer in without.hidden:
        layer.norm = layer.norm[0]
    assert torch.equal(ActivationProbe(without, sites_around(without))(x)[0], still)
    place = "hidden.0/after_norm/mean"  # beta, and mu with it
    assert abs(noisy_arrays[place] - arrays[place]) > 0.05


def test_batch_norm_with_noise_is_scale_invariant_as_without():
    network, x = trained("noisy_batch")
    for norm in batch_norms(network):
        norm.eps = 1e-20
    assert max(scale_invariance_errors(network.double(), x.double(), 10.0, seeded(0)).values()) < 1e-10


def test_it_has_no_state_to_load():
    assert ActivationNoise().state_dict() == {}
    assert set(trained("noisy_none", 1)[0].state_dict()) == set(trained("none", 1)[0].state_dict())
    assert isinstance(trained("noisy_batch", 1)[0].hidden[0].norm, nn.Sequential)
