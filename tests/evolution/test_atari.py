"""Is an episode a function of its seed and decisions, and does a policy see and get what the sources state?"""

import numpy as np
import pytest

from bn_repro.config.evolution import GAMES
from bn_repro.evolution.atari import Emulators, baselines, digest, random_observations, resized

ale_py = pytest.importorskip("ale_py")


def by_area(frame):
    """Average in float64 over a grid so fine that both sizes divide it."""
    fine = frame.astype(float).repeat(2, axis=0).repeat(21, axis=1)
    return fine.reshape(84, 5, 84, 40).mean((1, 3))


def test_scaling_is_by_area():
    frame = np.random.default_rng(0).integers(0, 256, (210, 160)).astype(np.uint8)
    assert resized(frame).dtype == np.uint8 and np.abs(resized(frame) - by_area(frame)).max() <= 0.5 + 1e-4
    assert (resized(np.full((210, 160), 255, np.uint8)) == 255).all()


def played(emulator, seed, actions):
    emulator.reset(seed)
    seen = [emulator.observation.copy()]
    rewards = []
    for action in actions:
        reward, is_over = emulator.step(action)
        rewards.append(reward)
        seen.append(emulator.observation.copy())
        if is_over:
            break
    return np.stack(seen), rewards


@pytest.mark.parametrize("game", ["qbert", "assault"])
def test_an_episode_does_not_depend_on_those_before(game):
    """In these two games ale-py's vector environment goes on from what was played before."""
    emulators = Emulators(game, 2)
    random = np.random.default_rng(0)
    actions = random.integers(emulators.num_actions, size=60)
    seen, rewards = played(emulators.each[0], 5, actions)
    played(emulators.each[0], 6, random.integers(emulators.num_actions, size=45))
    for emulator in emulators.each:
        again, rewards_again = played(emulator, 5, actions)
        assert np.array_equal(again, seen) and rewards_again == rewards
    assert not np.array_equal(played(emulators.each[0], 7, actions)[0][: len(seen)], seen)


def test_frames_are_skipped_joined_scaled_and_stacked():
    """Beside the plainest loop over the emulator: 4 frames a decision, the larger of the last two, the newest last."""
    (emulator,) = Emulators("breakout", 1).each
    actions = [1, 2, 2, 3, 0, 3, 1]
    seen, _ = played(emulator, 3, actions)
    emulator.reset(3)
    assert all(np.array_equal(frame, seen[0][0]) for frame in seen[0])
    frames, plain = [seen[0][-1]] * 4, emulator.ale
    for number, action in enumerate(actions, 1):
        screens = []
        for _ in range(4):
            plain.act(emulator.actions[action])
            screens.append(plain.getScreenGrayscale())
        frames.append(resized(np.maximum(screens[2], screens[3]).reshape(210, 160)))
        assert np.array_equal(seen[number], np.stack(frames[-4:]))


def test_an_episode_starts_with_1_to_30_frames_without_action():
    (emulator,) = Emulators("pong", 1).each
    begun_at = emulator.ale.getEpisodeFrameNumber()
    starts = []
    for seed in range(120):
        emulator.reset(seed)
        starts.append(emulator.ale.getEpisodeFrameNumber())
    emulator.ale.restoreSystemState(emulator.start)
    starts = np.array(starts) - emulator.ale.getEpisodeFrameNumber()
    assert begun_at > 0 and starts.min() == 1 and starts.max() == 30 and len(set(starts.tolist())) > 25


def test_a_lost_life_ends_nothing_and_rewards_are_not_clipped():
    (emulator,) = Emulators("breakout", 1).each
    emulator.reset(0)
    lives = emulator.ale.lives()
    while emulator.ale.lives() == lives:
        _, is_over = emulator.step(1)
    assert not is_over and emulator.ale.lives() == lives - 1
    _, rewards = played(Emulators("qbert", 1).each[0], 5, np.random.default_rng(0).integers(6, size=150))
    assert max(rewards) == 25


def test_reference_batches_are_seeded_and_more_diverse_when_thinned():
    (emulator,) = Emulators("pong", 1).each
    thinned = random_observations(emulator, 8, 0.1, 200, seed=1)
    assert thinned.shape == (8, 4, 84, 84) and thinned.dtype == np.uint8
    assert digest(thinned) == digest(random_observations(emulator, 8, 0.1, 200, seed=1))
    assert digest(thinned) != digest(random_observations(emulator, 8, 0.1, 200, seed=2))
    consecutive = random_observations(emulator, 8, 1.0, 200, seed=1)
    assert all(np.array_equal(later[:-1], earlier[1:]) for earlier, later in zip(consecutive, consecutive[1:]))


def test_going_straight_up_crosses_the_road():
    """What needs no policy: the best constant action of Freeway is up, and random play stays on the pavement."""
    found = baselines(Emulators("freeway", 1).each[0], num_episodes=1, max_decisions=150, seed=0)
    assert found["constant_action"] == 1 and found["constant_score"] >= 1 > found["random_score"]


def test_every_game_of_the_config_is_there():
    assert len(GAMES) == 57 and all(ale_py.roms.get_rom_path(game).exists() for game in GAMES)
