"""What plays in place of games, where tests know the score of every genome."""

import dataclasses

import numpy as np
from composed import composed

from bn_repro.evolution.play import Episodes


def train_config(**kwargs):
    return dataclasses.replace(composed("experiment=evolution_curves/smoke", "norm=none", "seed=0").train, **kwargs)


def playing(score):
    """Return what plays tasks by a function of (genome, episode's seed)."""

    def play(tasks):
        scores = np.array([score(task.genome(), task.seed) for task in tasks], dtype=float)
        return Episodes(scores, np.ones((len(tasks), 2), np.int64))

    return play
