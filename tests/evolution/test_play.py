"""Does every task get its episode, once, whatever the number of places, and does none change another's?"""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bn_repro.evolution.atari import digest
from bn_repro.evolution.play import Table, Task


class Counting:
    """A game in which decision n is worth what the policy says of n, and which ends after 3 + seed % 4 of them."""

    num_actions = 2

    def __init__(self, num):
        self.observations = np.zeros((num, 1), np.int64)
        self.each = [SimpleNamespace(reset=self.resetting(place), step=self.stepping(place)) for place in range(num)]
        self.seeds, self.turns = [0] * num, [0] * num

    def __len__(self):
        return len(self.each)

    def resetting(self, place):
        def reset(seed):
            self.seeds[place], self.turns[place] = seed, 0
            self.observations[place] = 100 * seed

        return reset

    def stepping(self, place):
        def step(action):
            self.turns[place] += 1
            self.observations[place] += 1
            return float(action * self.turns[place]), self.turns[place] == 3 + self.seeds[place] % 4

        return step


class Parities:
    """Policies that choose by the parity of what they see and of their only parameter."""

    def __init__(self, num):
        self.genomes, self.seconds, self.num_built = [None] * num, Counter(), 0

    def load(self, place, key, genome):
        self.genomes[place] = int(genome()[0])
        self.num_built += 1

    def decide(self, observations):
        return [0 if genome is None else (int(seen[0]) + genome) % 2 for genome, seen in zip(self.genomes, observations)]


def by_hand(genome, seed, max_decisions):
    length = min(3 + seed % 4, max_decisions)
    actions = [(100 * seed + turn + genome) % 2 for turn in range(length)]
    return sum(action * (turn + 1) for turn, action in enumerate(actions)), [length - sum(actions), sum(actions)]


@pytest.mark.parametrize("num_places", [1, 3, 8])
@pytest.mark.parametrize("max_decisions", [4, 100])
def test_every_task_is_played_as_by_hand(num_places, max_decisions):
    tasks = [Task(number, lambda number=number: torch.tensor([number]), seed) for number, seed in enumerate((0, 5, 2, 7, 3))]
    polls = []
    episodes = Table(Parities(num_places), Counting(num_places)).play(tasks, max_decisions, lambda: polls.append(1))
    expected = [by_hand(number, task.seed, max_decisions) for number, task in enumerate(tasks)]
    assert episodes.scores.tolist() == [score for score, _ in expected]
    assert episodes.actions.tolist() == [actions for _, actions in expected] and len(polls) >= 2
    assert episodes.decisions.tolist() == [sum(actions) for _, actions in expected]


def test_a_digest_names_content():
    assert digest(np.zeros(3, np.uint8)) == digest(np.zeros(3, np.uint8)) != digest(np.ones(3, np.uint8))
