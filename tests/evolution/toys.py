"""What plays in place of games, where tests know the score of every genome; and small configs of evolution."""

import dataclasses

import numpy as np

from bn_repro.config.evolution import DiversityConfig, EvolutionTrainConfig, PolicyConfig
from bn_repro.evolution.play import Episodes

TRAIN = EvolutionTrainConfig(
    steps=2,
    eval_every=1,
    checkpoint_every=1,
    algorithm="es",
    population=4,
    sigma=0.02,
    lr=0.01,
    weight_decay=0.005,
    truncation=None,
    elite_candidates=None,
    elite_episodes=None,
    precision="float32",
    slots=2,
    eval_episodes=1,
    final_episodes=2,
    baseline_episodes=0,
)
PROBE = DiversityConfig(every=1, policies=4, sigmas=[0.02], states=8, max_decisions=20)


def train_config(**kwargs):
    return dataclasses.replace(TRAIN, **kwargs)


def policy_config(norm, name="es_policy", **kwargs):
    return PolicyConfig(**{"name": name, "norm": norm, "norm_eps": 1e-3, "has_gamma": False, "output_std": 1.0, **kwargs})


def playing(score):
    """Return what plays tasks by a function of (genome, episode's seed)."""

    def play(tasks):
        scores = np.array([score(task.genome(), task.seed) for task in tasks], dtype=float)
        return Episodes(scores, np.ones((len(tasks), 2), np.int64))

    return play
