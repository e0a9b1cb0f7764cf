"""How policies play their episodes: several at once in a process, each rank its part, the scores known to all."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bn_repro.evolution.atari import Emulators
from bn_repro.evolution.population import Population, timed
from bn_repro.training.distributed import num_ranks, rank, sum_over_ranks

DECISIONS_A_POLL = 100


@dataclass(frozen=True)
class Task:
    """An episode to be played.

    Args:
        key: names the policy; equal keys mean equal genomes.
        genome: builds its genome, when it is its turn.
        seed: of the episode.
    """

    key: Hashable
    genome: Callable[[], Tensor]
    seed: int


@dataclass(frozen=True)
class Episodes:
    """What came of tasks, in their order: scores (T,) and how often each action was chosen (T, A)."""

    scores: np.ndarray
    actions: np.ndarray

    @property
    def decisions(self) -> np.ndarray:
        return self.actions.sum(1)


Play = Callable[[Sequence[Task]], Episodes]


@dataclass
class Table:
    """Where policies and emulators sit opposite each other."""

    population: Population
    emulators: Emulators

    def play(self, tasks: Sequence[Task], max_decisions: int, poll: Callable[[], None]) -> Episodes:
        """Play all tasks, and return the same on all ranks, whatever their number.

        Args:
            poll: called now and then; it may raise. Of several ranks, which must all call it equally often, only at the end.
        """
        scores = np.zeros(len(tasks))
        actions = np.zeros((len(tasks), self.emulators.num_actions), np.int64)
        waiting = iter(range(rank(), len(tasks), num_ranks()))
        playing: dict[int, int] = {}  # the number of the task at each place that has one
        for place in range(len(self.emulators)):
            self.seat(place, waiting, tasks, playing)
        turn = 0
        while playing:
            if turn % DECISIONS_A_POLL == 0 and num_ranks() == 1:
                poll()
            turn += 1
            chosen = self.population.decide(self.emulators.observations)
            ended = []
            with timed(self.population.seconds, "emulating"):
                for place, task in playing.items():
                    reward, is_over = self.emulators.each[place].step(chosen[place])
                    scores[task] += reward
                    actions[task, chosen[place]] += 1
                    if is_over or actions[task].sum() == max_decisions:
                        ended.append(place)
            for place in ended:
                del playing[place]
                self.seat(place, waiting, tasks, playing)
        poll()
        return Episodes(sum_over_ranks(torch.from_numpy(scores)).numpy(), sum_over_ranks(torch.from_numpy(actions)).numpy())

    def seat(self, place: int, waiting: Iterator[int], tasks: Sequence[Task], playing: dict[int, int]) -> None:
        """Begin the next task at a place, if one is waiting."""
        number = next(waiting, None)
        if number is not None:
            self.population.load(place, tasks[number].key, tasks[number].genome)
            self.emulators.each[place].reset(tasks[number].seed)
            playing[place] = number
