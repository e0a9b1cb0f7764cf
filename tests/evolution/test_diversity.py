"""Are the measures of diversity their formulas, on arrays worked by hand and on policies?"""

import dataclasses

import numpy as np
import pytest
import torch
from composed import composed

from bn_repro.evolution.atari import Emulators
from bn_repro.evolution.diversity import correlation, counts_of, disagreement, diversity, gradient_of_surrogate, measures_of
from bn_repro.evolution.play import Table
from bn_repro.evolution.policy import Policy
from bn_repro.evolution.population import Population

CHOSEN = np.array([[0, 0, 0, 0], [0, 1, 0, 1], [2, 2, 2, 1]])  # (P, S)


def test_on_arrays_by_hand():
    counts = counts_of(CHOSEN, 3)
    assert counts.tolist() == [[4, 0, 0], [2, 2, 0], [0, 1, 3]]
    third = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / np.log(3)
    found = measures_of(counts, "episode_")
    assert found["episode_single_action"] == pytest.approx(1 / 3)
    assert found["episode_entropy"] == pytest.approx((0 + np.log(2) / np.log(3) + third) / 3)
    pairs = [np.mean(CHOSEN[first] != CHOSEN[second]) for first, second in ((0, 1), (0, 2), (1, 2))]
    assert disagreement(CHOSEN) == pytest.approx(np.mean(pairs))
    assert disagreement(np.zeros((5, 4), int)) == 0 and correlation(np.ones(3), np.arange(3.0)) == 0
    assert correlation(np.arange(4.0), -2 * np.arange(4.0)) == pytest.approx(-1)


@pytest.mark.parametrize("norm", ["none", "virtual_batch"])
def test_of_policies(norm):
    """Small perturbations agree with the gradient, large ones less; none changes no action."""
    config = composed("experiment=policy_diversity/smoke", f"norm={norm}", "seed=0")
    emulators = Emulators("freeway", 2)
    policy = Policy(config.network, emulators.num_actions).eval()
    random = np.random.default_rng(0)
    states, reference = (random.integers(0, 256, (6, 4, 84, 84)).astype(np.uint8) for _ in range(2))
    x_ref = torch.from_numpy(reference).float() / 255 if norm == "virtual_batch" else None
    table = Table(Population(policy, 2, x_ref, torch.float32, torch.device("cpu")), emulators)
    probe = dataclasses.replace(config.probe, policies=8, sigmas=[1e-4, 0.05], max_decisions=3)
    parent = policy.initial_genome(0)
    measures, arrays = diversity(policy, table, parent, states, probe, 0, lambda: None)
    assert measures["diversity/sigma_0.0001/gradient_agreement"] > 0.99 > measures["diversity/sigma_0.05/gradient_agreement"]
    assert measures["diversity/sigma_0.0001/changed"] <= measures["diversity/sigma_0.05/changed"]
    assert arrays["sigma_0.05/state_actions"].shape == arrays["sigma_0.05/episode_actions"].shape == (8, 3)
    assert (arrays["sigma_0.05/state_actions"].sum(1) == 6).all() and (arrays["sigma_0.05/episode_actions"].sum(1) == 3).all()
    assert arrays["states/frames"].shape == (6, 84, 84) and arrays["sigma_0.05/scores"].shape == (8,)
    again, _ = diversity(policy, table, parent, states, probe, 0, lambda: None)
    assert again == measures


def test_the_gradient_of_the_surrogate_is_that_of_the_policy():
    """A step along it raises the likelihood of the targets by what it promises."""
    config = composed("experiment=policy_diversity/smoke", "norm=virtual_batch", "seed=0").network
    policy = Policy(config, 3).eval()
    x, x_ref = torch.rand(4, 4, 84, 84, generator=torch.Generator().manual_seed(0)), torch.rand(5, 4, 84, 84)
    parent, targets = policy.initial_genome(1), torch.tensor([0, 1, 2, 0])
    gradient = gradient_of_surrogate(policy, parent, x, targets, x_ref)
    assert gradient.shape == parent.shape and not any(p.requires_grad for p in policy.parameters())
    from bn_repro.evolution.diversity import chosen_on

    step = 1e-3 * gradient / gradient.norm()
    (_, values) = chosen_on(policy, [lambda: parent - step, lambda: parent + step], x, targets, x_ref, lambda: None)
    assert (values[1] - values[0]) / 2 == pytest.approx(1e-3 * gradient.norm().item(), rel=0.05)
