"""What deciding costs beside playing: Atari emulators alone, with a population of policies, with virtual batch norm."""

import dataclasses
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from bn_repro.benchmarks.memory import peak_megabytes
from bn_repro.benchmarks.timing import Comparison, Work, ratios
from bn_repro.config.evolution import EvolutionConfig, PolicyConfig
from bn_repro.evolution.atari import FRAMES_A_DECISION, Emulators
from bn_repro.evolution.policy import Policy
from bn_repro.evolution.population import Population
from bn_repro.experiments.evolution import Evolution

MOST_TIME = 1 / 0.6  # of the emulators alone: at least 60 % of their speed
LARGE_POPULATION, MAX_MEGABYTES = 1_000, 1_500
DECISIONS = 500  # of an episode, to which a policy's reference pass belongs
REFERENCE_SIZE = 128
ARMS = (
    # policy       norm             precision    bound
    ("es_policy", "none", "float32", MOST_TIME),  # in which every experiment decides
    ("es_policy", "virtual_batch", "float32", MOST_TIME),
    ("es_policy", "none", "bfloat16", MOST_TIME),
    ("es_policy", "virtual_batch", "bfloat16", MOST_TIME),
    ("ga_policy", "none", "bfloat16", 0.0),
)


def compare_playing(config: EvolutionConfig, rounds: int, decisions: int = DECISIONS) -> Iterator[Comparison]:
    """Yield how long emulators and policies take for episodes beside the emulators alone, by random actions.

    Args:
        config: of the game and of the number of policies at once.
        decisions: of an episode of each policy.
    """
    emulators = Emulators(config.game.name, config.train.slots, config.game.noop_max)
    alone = acting_at_random(emulators, decisions)
    for name, norm, precision, bound in ARMS:
        network = dataclasses.replace(config.network, name=name, norm=norm)
        found = ratios(playing(emulators, network, precision, decisions), alone, rounds)
        yield Comparison(f"{config.game.name}, {name}, {norm}, {precision}", "emulators alone", found, bound)


def acting_at_random(emulators: Emulators, decisions: int) -> Work:
    actions = np.random.default_rng(0).integers(emulators.num_actions, size=(decisions, len(emulators))).tolist()

    def work() -> None:
        reset(emulators)
        for chosen in actions:
            act(emulators, chosen)

    return work


def playing(emulators: Emulators, network: PolicyConfig, precision: str, decisions: int) -> Work:
    """Return an episode of as many decisions for every policy, each a new one that takes its place first."""
    policy = Policy(network, emulators.num_actions).eval()
    x_ref = torch.rand(REFERENCE_SIZE, 4, 84, 84, generator=torch.Generator().manual_seed(0)) if network.norm == "virtual_batch" else None
    population = Population(policy, len(emulators), x_ref, getattr(torch, precision), torch.device("cpu"))

    def work() -> None:
        for place in range(len(emulators)):
            population.load(place, object(), partial(policy.initial_genome, place))
        reset(emulators)
        for _ in range(decisions):
            act(emulators, population.decide(emulators.observations))

    return work


def reset(emulators: Emulators) -> None:
    for seed, emulator in enumerate(emulators.each):
        emulator.reset(seed)


def act(emulators: Emulators, chosen: list[int]) -> None:
    for seed, (emulator, action) in enumerate(zip(emulators.each, chosen)):
        _, is_over = emulator.step(action)
        if is_over:
            emulator.reset(seed)


def peak_of_a_generation(config: EvolutionConfig, population: int = LARGE_POPULATION) -> float:
    """Return the peak memory, in megabytes, of a process that plays one generation of so many policies, a decision each."""
    torch.set_num_threads(config.threads)
    game, train = dataclasses.replace(config.game, max_decisions=1), dataclasses.replace(config.train, population=population)
    evolution = Evolution(dataclasses.replace(config, game=game, train=train))
    evolution.take_step(lambda: None)
    return peak_megabytes()


def frames_per_second(config: EvolutionConfig, decisions: int = DECISIONS) -> float:
    """Return how many frames the emulators alone make in a second on one core."""
    emulators = Emulators(config.game.name, config.train.slots, config.game.noop_max)
    work = acting_at_random(emulators, decisions)
    work()
    started = time.perf_counter()
    work()
    return FRAMES_A_DECISION * decisions * len(emulators) / (time.perf_counter() - started)
