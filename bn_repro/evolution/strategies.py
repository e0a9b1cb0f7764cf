"""Evolution strategies (Salimans et al. 2017): mirrored perturbations, centred ranks, Adam with L2; noise from seeds."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bn_repro.config.evolution import EvolutionTrainConfig
from bn_repro.evolution.noise import Purpose, noise, seed_of
from bn_repro.evolution.play import Episodes, Play, Task


class Strategies:
    """A parent that moves along the estimated gradient of its perturbations' scores.

    The estimate and the step are those of both public codes: with w = centred rank of theta + sigma e, less that of
    theta - sigma e, g = sum of w e over the pairs / number of policies, and Adam descends -g + weight_decay * theta.
    """

    def __init__(self, initial: Tensor, config: EvolutionTrainConfig, seed: int):
        self.parent = torch.nn.Parameter(initial.clone())
        self.optimizer = torch.optim.Adam([self.parent], lr=config.lr, weight_decay=config.weight_decay)
        self.sigma, self.num_pairs, self.seed = config.sigma, config.population // 2, seed

    @property
    def best(self) -> Tensor:
        """Return the parameters that the run has come to."""
        return self.parent.detach()

    def generation(self, number: int, play: Play) -> list[Episodes]:
        """Play one generation and step once; nothing has changed if `play` raises."""
        seeds = [seed_of(self.seed, Purpose.PERTURBATION, number, pair) for pair in range(self.num_pairs)]
        tasks = []
        for pair, seed in enumerate(seeds):
            for place, sigma in enumerate((self.sigma, -self.sigma)):
                episode = seed_of(self.seed, Purpose.EPISODE, number, pair, place)
                tasks.append(Task((number, pair, place), perturbed(self.best, seed, sigma), episode))
        episodes = play(tasks)
        self.update(seeds, episodes.scores.reshape(-1, 2))
        return [episodes]

    def update(self, seeds: Sequence[int], scores: np.ndarray) -> None:
        """Make one step; none where all scores are equal, since Adam would make a whole step of the L2 term alone.

        Args:
            seeds: (P,) of the pairs' noise.
            scores: (P, 2) of theta + sigma e and of theta - sigma e.
        """
        if scores.min() == scores.max():
            return
        ranks = centred_ranks(scores.ravel()).reshape(scores.shape)
        self.parent.grad = -weighted_noise(seeds, ranks[:, 0] - ranks[:, 1], self.parent.numel()) / scores.size
        self.optimizer.step()

    def as_plain(self) -> dict[str, Any]:
        return {"parent": self.parent.detach(), "optimizer": self.optimizer.state_dict()}

    def fits(self, plain: dict[str, Any]) -> bool:
        """Say whether `restore` can take up what once was `as_plain`."""
        moments = [value for state in plain["optimizer"]["state"].values() for name, value in state.items() if name != "step"]
        return all(tensor.shape == self.parent.shape and tensor.dtype == self.parent.dtype for tensor in (plain["parent"], *moments))

    def restore(self, plain: dict[str, Any]) -> None:
        self.parent.data.copy_(plain["parent"])
        self.optimizer.load_state_dict(plain["optimizer"])

    def described(self) -> dict[str, Any]:
        """Return what a row says of the parent."""
        return {"parent_norm": self.best.norm().item()}

    def ended(self) -> dict[str, Any]:
        """Return what the summary says of the parent."""
        return {}


def perturbed(parent: Tensor, seed: int, sigma: float) -> Callable[[], Tensor]:
    """Return what builds parent + sigma e, e being drawn from the seed; a negative sigma gives the mirror image."""
    return lambda: torch.add(parent, noise(seed, parent.numel()), alpha=sigma)


def centred_ranks(scores: np.ndarray) -> np.ndarray:
    """Return ranks in [-1/2, 1/2]; equal scores share the mean of theirs, where the public codes rank them by their place.

    Raises:
        ValueError: a score is not a number, or there are fewer than two.
    """
    if len(scores) < 2 or np.isnan(scores).any():
        raise ValueError(f"ranks are of two numbers or more; of {len(scores)} scores {int(np.isnan(scores).sum())} are not a number")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - (counts + 1) / 2)[inverse] / (len(scores) - 1)) - 0.5


def weighted_noise(seeds: Sequence[int], weights: np.ndarray, size: int) -> Tensor:
    """Return the sum of weight * e, each e drawn again from its seed, in the order given."""
    total = torch.zeros(size)
    for seed, weight in zip(seeds, weights.tolist()):
        if weight:
            total.add_(noise(seed, size), alpha=weight)
    return total
