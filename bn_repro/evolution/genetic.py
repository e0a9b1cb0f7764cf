"""The deep genetic algorithm (Such et al. 2017): a genome is the list of its seeds; truncation, an elite, no crossover.

As in the newer public code: the first generation is drawn as initial policies are; every later policy is one of the T
parents, drawn evenly, mutated once; the elite is the best of the top few and the last elite by the mean of episodes of
their own; the parents are the top T, the elite among them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from bn_repro.config.evolution import EvolutionTrainConfig
from bn_repro.evolution.noise import Purpose, noise, seed_of
from bn_repro.evolution.play import Episodes, Play, Task

Genome = tuple[int, ...]  # the seed of the initial policy, then one for each mutation


class Genetic:
    """Parents and elite, as lists of seeds; parameters of parents are kept, so that a child takes one mutation to build.

    Args:
        initial: from a seed to an initial policy's parameters.
    """

    def __init__(self, initial: Callable[[int], Tensor], config: EvolutionTrainConfig, seed: int):
        self.initial, self.config, self.seed = initial, config, seed
        self.parents: list[Genome] = []
        self.elite: Genome = (seed_of(seed, Purpose.INITIAL),)  # until there are parents
        self._built: dict[Genome, Tensor] = {}

    @property
    def best(self) -> Tensor:
        """Return the parameters that the run has come to."""
        return self.parameters(self.elite)

    def generation(self, number: int, play: Play) -> list[Episodes]:
        """Play one generation and select from it; nothing has changed if `play` raises."""
        population = self.children(number)
        episodes = play([self.task(genome, Purpose.EPISODE, number, place) for place, genome in enumerate(population)])
        candidates = self.candidates(population, episodes.scores)
        size = self.config.elite_episodes
        again = play([self.task(genome, Purpose.ELITE, number, place) for genome in candidates for place in range(size)])
        self.select(population, episodes.scores, candidates, again.scores.reshape(-1, size).mean(1))
        return [episodes, again]

    def children(self, number: int) -> list[Genome]:
        """Return the genomes of a generation: of initial policies, or of parents, drawn evenly, with one more mutation."""
        places = range(self.config.population)
        if not self.parents:
            return [(seed_of(self.seed, Purpose.INITIAL, number, place),) for place in places]
        random = np.random.default_rng(seed_of(self.seed, Purpose.PARENT, number))
        parents = random.integers(len(self.parents), size=len(places))
        return [(*self.parents[parents[place]], seed_of(self.seed, Purpose.PERTURBATION, number, place)) for place in places]

    def task(self, genome: Genome, purpose: Purpose, number: int, place: int) -> Task:
        return Task(genome, lambda: self.parameters(genome), seed_of(self.seed, purpose, number, place))

    def parameters(self, genome: Genome) -> Tensor:
        """Build any individual from its seeds, to the same bits whether its ancestors are kept or not."""
        known = next((length for length in range(len(genome), 0, -1) if genome[:length] in self._built), 0)
        built = self._built[genome[:known]].clone() if known else self.initial(genome[0])
        for seed in genome[max(known, 1) :]:
            built.add_(noise(seed, built.numel()), alpha=self.config.sigma)
        return built

    def candidates(self, population: Sequence[Genome], scores: np.ndarray) -> list[Genome]:
        """Return the best few, of which the last elite is one, first, once there is one."""
        best = [population[place] for place in best_first(scores)[: self.config.elite_candidates]]
        return [self.elite, *best[:-1]] if self.parents else best

    def select(self, population: Sequence[Genome], scores: np.ndarray, candidates: Sequence[Genome], again: np.ndarray) -> None:
        """Make parents of the best.

        Args:
            scores: (P,) of the population.
            again: (K,) mean scores of the candidates in further episodes.
        """
        self.elite = candidates[int(np.argmax(again))]
        best = [population[place] for place in best_first(scores)[: self.config.truncation]]
        self.become(best if self.elite in best else [self.elite, *best[:-1]])

    def become(self, parents: Sequence[Genome]) -> None:
        """Take these for parents, the elite among them, and keep their parameters alone."""
        self.parents = list(parents)
        self._built = {genome: self.parameters(genome) for genome in dict.fromkeys(parents)}

    def as_plain(self) -> dict[str, Any]:
        return {"parents": [list(genome) for genome in self.parents], "elite": list(self.elite)}

    def fits(self, plain: dict[str, Any]) -> bool:
        """Say whether `restore` can take up what once was `as_plain`."""
        return all(genome and all(type(seed) is int for seed in genome) for genome in (*plain["parents"], plain["elite"]))

    def restore(self, plain: dict[str, Any]) -> None:
        self.elite = tuple(plain["elite"])
        self.become([tuple(genome) for genome in plain["parents"]])

    def described(self) -> dict[str, Any]:
        """Return what a row says of the elite."""
        return {"num_mutations": len(self.elite) - 1}

    def ended(self) -> dict[str, Any]:
        """Return what the summary says of the elite: the seeds from which it can be built."""
        return {"genome": list(self.elite)}


def best_first(scores: np.ndarray) -> list[int]:
    """Return places in falling order of score; of equal ones the first comes first."""
    return np.argsort(-scores, kind="stable").tolist()
