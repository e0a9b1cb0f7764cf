"""Does the genetic algorithm select as a reference worked by hand does, and is an individual its seeds?"""

import numpy as np
import torch
from toys import playing, train_config

from bn_repro.evolution.genetic import Genetic, best_first
from bn_repro.evolution.noise import Purpose, noise, seed_of

SIZE, SIGMA, SEED, POPULATION, TRUNCATION, CANDIDATES, EPISODES = 24, 0.3, 2, 12, 4, 3, 2


def bit_count(genome, seed):
    """Count positive parameters; the episode's seed adds a little, so that playing again matters."""
    return int((np.asarray(genome) > 0).sum()) + (seed % 7) / 10


def initial(seed):
    return noise(seed, SIZE)


def genetic():
    sizes = {"population": POPULATION, "truncation": TRUNCATION, "elite_candidates": CANDIDATES, "elite_episodes": EPISODES}
    return Genetic(initial, train_config(algorithm="ga", sigma=SIGMA, lr=None, weight_decay=None, **sizes), SEED)


def built_by_hand(genome):
    """Draw the first seed's policy and add every mutation, in order, in float32."""
    parameters = noise(genome[0], SIZE).numpy().copy()
    for seed in genome[1:]:
        parameters += np.float32(SIGMA) * noise(seed, SIZE).numpy()
    return parameters


def generations_by_hand(num):
    """The newer public code of Such et al. 2017, over dense parameters."""
    parents, elite = None, None
    for number in range(num):
        if parents is None:
            population = [(seed_of(SEED, Purpose.INITIAL, number, place),) for place in range(POPULATION)]
        else:
            picks = np.random.default_rng(seed_of(SEED, Purpose.PARENT, number)).integers(len(parents), size=POPULATION)
            population = [(*parents[pick], seed_of(SEED, Purpose.PERTURBATION, number, place)) for place, pick in enumerate(picks)]
        scores = [bit_count(built_by_hand(g), seed_of(SEED, Purpose.EPISODE, number, place)) for place, g in enumerate(population)]
        ordered = [population[place] for place in sorted(range(POPULATION), key=lambda place: -scores[place])]
        candidates = ordered[:CANDIDATES] if elite is None else [elite, *ordered[: CANDIDATES - 1]]
        again = [
            np.mean([bit_count(built_by_hand(g), seed_of(SEED, Purpose.ELITE, number, episode)) for episode in range(EPISODES)])
            for g in candidates
        ]
        elite = candidates[int(np.argmax(again))]
        parents = ordered[:TRUNCATION] if elite in ordered[:TRUNCATION] else [elite, *ordered[: TRUNCATION - 1]]
        yield population, parents, elite


def test_on_a_bit_count_generation_for_generation():
    ours, play = genetic(), playing(bit_count)
    first = None
    for number, (population, parents, elite) in enumerate(generations_by_hand(15)):
        assert ours.children(number) == population
        ours.generation(number, play)
        assert ours.parents == parents and ours.elite == elite
        first = first or bit_count(built_by_hand(elite), 0)
    assert bit_count(ours.best, 0) > first + 3


def test_any_individual_is_rebuilt_bit_for_bit_from_its_seeds():
    ours, play = genetic(), playing(bit_count)
    for number in range(8):
        ours.generation(number, play)
    stranger = genetic()
    for genome in [*ours.parents, *ours.children(8)]:
        assert torch.equal(stranger.parameters(genome), ours.parameters(genome))
        np.testing.assert_allclose(ours.parameters(genome).numpy(), built_by_hand(genome), rtol=1e-5, atol=1e-6)
    assert max(map(len, ours.parents)) > 3


def test_only_seeds_are_saved_and_a_resumed_run_goes_on_the_same():
    ours, again, play = genetic(), genetic(), playing(bit_count)
    for number in range(5):
        ours.generation(number, play)
    plain = ours.as_plain()
    assert all(isinstance(seed, int) for genome in [*plain["parents"], plain["elite"]] for seed in genome)
    again.restore(plain)
    for number in range(5, 8):
        ours.generation(number, play), again.generation(number, play)
    assert again.as_plain() == ours.as_plain() and torch.equal(again.best, ours.best)


def test_equal_scores_keep_their_order():
    assert best_first(np.array([1.0, 3.0, 3.0, 0.0, 3.0])) == [1, 2, 4, 0, 3]
