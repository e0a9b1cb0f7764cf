"""Are the policies those of the sources, and is a population so many of them, whatever stands beside each?"""

import math

import numpy as np
import pytest
import torch
from toys import policy_config

from bn_repro.config.evolution import POLICY_NORMS
from bn_repro.evolution.policy import Policy, keep_moments, padding_of
from bn_repro.evolution.population import Population, expressed, logits_of
from bn_repro.norms import reference_statistics

OBSERVATIONS = np.random.default_rng(0).integers(0, 256, (3, 4, 84, 84)).astype(np.uint8)
X_REF = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (5, 4, 84, 84)).astype(np.float32)) / 255


def policy_of(norm, name="es_policy", num_actions=6, **kwargs):
    return Policy(policy_config(norm, name, **kwargs), num_actions).eval()


@pytest.mark.parametrize("norm", POLICY_NORMS)
def test_numbers_of_parameters(norm):
    """1.0 M for ES, 4.0 M for the GA; a shift stands where a bias would."""
    kept = 304 if norm == "layer" else 0  # biases that its shift does not subsume
    assert policy_of(norm, num_actions=18).genome_size == 1_008_450 + kept
    assert policy_of(norm, num_actions=18, has_gamma=True).genome_size == 1_008_450 + kept + (304 if norm != "none" else 0)
    if norm == "none":
        assert policy_of(norm, "ga_policy", num_actions=18).genome_size == 4_052_658


def test_padding_is_tensorflows_same():
    assert padding_of(84, 8, 4) == (2, 2, 2, 2) and padding_of(21, 4, 2) == (1, 2, 1, 2) and padding_of(11, 3, 1) == (1, 1, 1, 1)


@pytest.mark.parametrize("norm", ["none", "virtual_batch"])
def test_initial_weights(norm):
    policy = policy_of(norm, has_gamma=True, output_std=0.1)
    genome = policy.initial_genome(7)
    assert torch.equal(genome, policy.initial_genome(7)) and not torch.equal(genome, policy.initial_genome(8))
    policy.express(genome)
    for name, parameter in policy.named_parameters():
        if parameter.dim() > 1:
            std = (0.1 if name == "output.weight" else 1) / math.sqrt(parameter[0].numel())
            assert parameter.std().item() == pytest.approx(std, rel=0.1) and abs(parameter.mean().item()) < 0.1 * std
        else:
            assert (parameter == (1 if name.endswith("gamma") else 0)).all()
    assert torch.equal(torch.nn.utils.parameters_to_vector(policy.parameters()), genome)


def by_module(policy, genome, x, x_ref):
    """Return logits of the policy as a plain network, its batch norms with the moments of the first genome."""
    policy.express(genome.clone())
    with reference_statistics(policy, x_ref):
        return policy(x)


@pytest.mark.parametrize("has_gamma", [False, True])
@pytest.mark.parametrize("norm", POLICY_NORMS)
def test_a_population_is_so_many_policies(norm, has_gamma):
    policy = policy_of(norm, has_gamma=has_gamma)
    parent = policy.initial_genome(0)
    genomes = [parent + 0.02 * torch.randn(len(parent), generator=torch.Generator().manual_seed(n)) for n in range(3)]
    if norm == "batch":
        keep_moments(policy.express(parent.clone()), X_REF)
    x_ref = X_REF if norm == "virtual_batch" else None
    population = Population(policy, 3, x_ref, torch.float32, torch.device("cpu"))
    for place, genome in enumerate(genomes):
        population.load(place, place, lambda genome=genome: genome)
    logits, x = population.logits(OBSERVATIONS), torch.from_numpy(OBSERVATIONS).float() / 255
    for place, genome in enumerate(genomes):
        expected = by_module(policy, genome, x, X_REF)
        torch.testing.assert_close(logits[place], expected[place], rtol=1e-3, atol=1e-3 * expected.abs().max().item())
        alone = logits_of(expressed(policy, genome, x_ref), x)
        torch.testing.assert_close(alone, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())
    assert population.decide(OBSERVATIONS) == logits.argmax(1).tolist()


@pytest.mark.parametrize(
    "norm, precision, num_actions",
    [
        ("virtual_batch", torch.float32, 18),
        ("virtual_batch", torch.bfloat16, 6),
        *(("layer", precision, number) for precision in (torch.float32, torch.bfloat16) for number in (3, 6, 9)),
    ],
)
def test_a_policy_has_the_same_bits_at_every_place_beside_any_others(norm, precision, num_actions):
    policy = policy_of(norm, num_actions=num_actions)
    x_ref = X_REF if norm == "virtual_batch" else None
    population = Population(policy, 3, x_ref, precision, torch.device("cpu"))
    found = []
    for number, place in enumerate((0, 1, 2, 1)):
        for other in range(3):
            population.load(other, (number, other), lambda other=other, number=number: policy.initial_genome(10 + 3 * number + other))
        population.load(place, ("it", number), lambda: policy.initial_genome(3))
        observations = np.roll(OBSERVATIONS, number, axis=0)
        observations[place] = OBSERVATIONS[0]
        found.append(population.logits(observations)[place])
    assert all(torch.equal(logits, found[0]) for logits in found)


def test_the_large_policy_decides_too():
    policy = policy_of("none", "ga_policy")
    genome = policy.initial_genome(0)
    population = Population(policy, 3, None, torch.float32, torch.device("cpu"))
    for place in range(3):
        population.load(place, "same", lambda: genome)
    x = torch.from_numpy(OBSERVATIONS).float() / 255
    torch.testing.assert_close(population.logits(OBSERVATIONS), by_module(policy, genome, x, x), rtol=1e-3, atol=1e-3)


def test_a_genome_of_another_length_is_refused():
    policy = policy_of("none")
    with pytest.raises(ValueError, match="is not one of the"):
        policy.express(torch.cat([policy.initial_genome(0), torch.zeros(1)]))
