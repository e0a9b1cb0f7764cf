"""How differently policies act that are perturbed from one parent: on the same states, in their own episodes, and to the gradient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bn_repro.config.evolution import DiversityConfig
from bn_repro.evolution.noise import Purpose, noise, seed_of
from bn_repro.evolution.play import Table, Task
from bn_repro.evolution.policy import Policy
from bn_repro.evolution.population import expressed, logits_of
from bn_repro.evolution.strategies import perturbed
from bn_repro.norms import reference_statistics
from bn_repro.training.distributed import num_ranks, rank, sum_over_ranks

NUM_FRAMES = 6  # of the states, kept to be looked at


@dataclass(frozen=True)
class Perturbations:
    """Mirrored perturbations of a parent, as evolution strategies make them: theta + sigma e and theta - sigma e of each seed."""

    parent: Tensor
    sigma: float
    seeds: Sequence[int]

    def __len__(self) -> int:
        return 2 * len(self.seeds)

    def genome(self, number: int) -> Callable[[], Tensor]:
        return perturbed(self.parent, self.seeds[number // 2], self.sigma if number % 2 == 0 else -self.sigma)


def diversity(
    policy: Policy, table: Table, parent: Tensor, states: np.ndarray, config: DiversityConfig, seed: int, poll: Callable[[], None]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Measure perturbations of a parent of each size; see `measures_of`.

    Args:
        policy: whose batch norms, if it has such, hold the parent's moments.
        states: (S, 4, 84, 84) uint8 on which all decide.
        seed: of the run; perturbations of all sizes and parents share their noise.

    Returns:
        `{"diversity/sigma_<sigma>/<measure>": number}`, those of the parent itself as sigma_0; and the arrays that they are of:
        `sigma_<sigma>/state_actions` and `/episode_actions` (P, A), `/scores` (P,), and `states/frames` (6, 84, 84).
    """
    population, x = table.population, torch.from_numpy(states).float() / 255
    x_ref, x_played = population.x_ref, x.to(population.device, population.dtype)
    targets = torch.from_numpy(np.random.default_rng(seed_of(seed, Purpose.TARGETS)).integers(policy.num_actions, size=len(states)))
    seeds = [seed_of(seed, Purpose.DIVERSITY, pair) for pair in range(config.policies // 2)]
    gradient = gradient_of_surrogate(policy, parent, x, targets, x_ref)
    measures: dict[str, float] = {}
    arrays = {"states/frames": states[np.linspace(0, len(states) - 1, NUM_FRAMES).astype(int), -1]}
    for sigma in (0.0, *config.sigmas):
        perturbations = Perturbations(parent, sigma, seeds if sigma else seeds[:1])
        genomes = [perturbations.genome(number) for number in range(len(perturbations))]
        chosen, surrogate = chosen_on(policy, genomes, x_played, targets, x_ref, poll)
        tasks = [Task(object(), genome, seed_of(seed, Purpose.DIVERSITY, number, 1)) for number, genome in enumerate(genomes)]
        episodes = table.play(tasks, config.max_decisions, poll)
        state_actions = counts_of(chosen, policy.num_actions)
        found = measures_of(state_actions, "") | measures_of(episodes.actions, "episode_")
        found |= {"score": float(episodes.scores.mean())}
        if not sigma:
            chosen_by_parent = chosen[0]
        else:
            slopes = (surrogate[0::2] - surrogate[1::2]) / (2 * sigma)
            exact = np.array([torch.dot(gradient, noise(each, len(gradient))).item() for each in seeds])
            found |= {
                "score_std": float(episodes.scores.std(ddof=1)),
                "disagreement": disagreement(chosen),
                "changed": float((chosen != chosen_by_parent).mean()),
                "gradient_agreement": correlation(slopes, exact),
            }
        measures |= {f"diversity/sigma_{sigma:g}/{name}": value for name, value in found.items()}
        arrays |= {
            f"sigma_{sigma:g}/state_actions": state_actions.astype(np.int32),
            f"sigma_{sigma:g}/episode_actions": episodes.actions.astype(np.int32),
            f"sigma_{sigma:g}/scores": episodes.scores.astype(np.float32),
        }
    return measures, arrays


def chosen_on(
    policy: Policy, genomes: Sequence[Callable[[], Tensor]], x: Tensor, targets: Tensor, x_ref: Tensor | None, poll: Callable[[], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the actions (P, S) of each policy on the states, and its value (P,) of the surrogate; each rank does its part."""
    chosen, surrogate = torch.zeros(len(genomes), len(x), dtype=torch.int64), torch.zeros(len(genomes), dtype=torch.float64)
    for number in range(rank(), len(genomes), num_ranks()):
        if num_ranks() == 1:
            poll()
        logits = logits_of(expressed(policy, genomes[number]().to(x.device), x_ref), x).cpu()
        chosen[number] = logits.argmax(1)
        surrogate[number] = -F.cross_entropy(logits.double(), targets)
    return sum_over_ranks(chosen).numpy(), sum_over_ranks(surrogate).numpy()


def gradient_of_surrogate(policy: Policy, parent: Tensor, x: Tensor, targets: Tensor, x_ref: Tensor | None) -> Tensor:
    """Return the gradient in the genome of a smooth stand-in for the score: the mean log-likelihood of given actions on the states.

    It sees that the moments of a virtual batch norm are functions of the genome.
    """
    device = next(policy.parameters()).device
    policy.express(parent.to(device, copy=True)).eval()
    policy.requires_grad_(True)
    reference = x if x_ref is None else x_ref.float()
    with reference_statistics(policy, reference.to(device)):  # which only a virtual batch norm uses
        gradients = torch.autograd.grad(-F.cross_entropy(policy(x.to(device)), targets.to(device)), list(policy.parameters()))
    policy.requires_grad_(False)
    return torch.cat([gradient.flatten().cpu() for gradient in gradients])


def counts_of(chosen: np.ndarray, num_actions: int) -> np.ndarray:
    """Return how often each policy chose each action: (P, S) -> (P, A)."""
    return np.stack([(chosen == action).sum(1) for action in range(num_actions)], axis=1)


def measures_of(counts: np.ndarray, prefix: str) -> dict[str, float]:
    """Return the share of policies that chose a single action, and the mean entropy of a policy's actions, 1 if all alike often."""
    frequencies = counts / counts.sum(1, keepdims=True)
    entropy = -(frequencies * np.log(np.where(counts, frequencies, 1))).sum(1) / np.log(counts.shape[1])
    return {f"{prefix}single_action": float(((counts > 0).sum(1) == 1).mean()), f"{prefix}entropy": float(entropy.mean())}


def disagreement(chosen: np.ndarray) -> float:
    """Return the share of states on which two policies, drawn without replacement, choose different actions."""
    num = len(chosen)
    same = sum((chosen == action).sum(0) * ((chosen == action).sum(0) - 1) for action in np.unique(chosen))
    return float(1 - same.mean() / (num * (num - 1)))


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's, 0 where one does not vary."""
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
