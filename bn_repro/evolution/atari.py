"""What a policy sees of an Atari game and gets for what it does, frame for frame as Salimans et al. 2017 state it.

The actions that a game has use for; no sticky actions; a decision lasts 4 frames, of which the last two are joined by their
maximum; 84 x 84 grey pixels, four of such stacked; rewards as they are; no end at a lost life; 1 to 30 frames without action
at the start.

ale-py's `AtariVectorEnv` is not used: what it plays can depend on the episodes before, unless it is seeded anew, which loads
the game. Here an episode starts from a stored state of the emulator, and is a function of its seed and of what is decided.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

FRAMES_A_DECISION, NUM_STACKED, SIZE = 4, 4, 84
HEIGHT, WIDTH = 210, 160
NOOP = 0  # of every game's actions the first
FRAMES_BEFORE = 60  # played before the first episode: in Q*bert a restored state differs from one that was never left
EMULATOR_SEED = 1  # of its start state; with actions that never stick, it draws nothing later


class Emulator:
    """One emulator with one game.

    Args:
        observation: (4, 84, 84) uint8, into which what the policy sees is written, the newest frame last.
    """

    def __init__(self, game: str, noop_max: int, observation: np.ndarray):
        from ale_py import ALEInterface, LoggerMode, roms  # an extra, which other kinds of runs do without

        ALEInterface.setLoggerMode(LoggerMode.Error)
        self.ale = ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.setInt("random_seed", EMULATOR_SEED)
        self.ale.loadROM(roms.get_rom_path(game))
        self.ale.reset_game()
        self.start = self.ale.cloneSystemState()
        self.actions = self.ale.getMinimalActionSet()
        for number in range(FRAMES_BEFORE):
            self.ale.act(self.actions[number % len(self.actions)])
        self.noop_max, self.observation = noop_max, observation
        self.frames = np.empty((2, HEIGHT, WIDTH), np.uint8)  # the last two of a decision

    def reset(self, seed: int) -> None:
        """Start an episode, which is a function of the seed and of what is decided."""
        self.ale.restoreSystemState(self.start)
        num_noops = int(np.random.default_rng(seed).integers(1, self.noop_max + 1))
        for _ in range(num_noops):
            self.ale.act(self.actions[NOOP])
        self.ale.getScreenGrayscale(self.frames[0])
        self.observation[:] = resized(self.frames[0])

    def step(self, action: int) -> tuple[float, bool]:
        """Act for 4 frames, or until the game ends, and return (reward, whether it ended)."""
        act, chosen, reward = self.ale.act, self.actions[action], 0.0
        for frame in range(FRAMES_A_DECISION):
            reward += act(chosen)
            if frame >= FRAMES_A_DECISION - 2:
                self.ale.getScreenGrayscale(self.frames[frame % 2])
        np.maximum(self.frames[0], self.frames[1], out=self.frames[0])
        self.observation[:-1] = self.observation[1:]
        self.observation[-1] = resized(self.frames[0])
        return reward, self.ale.game_over()


def shares_of_columns() -> np.ndarray:
    """Return (40, 21) of how much of each of 40 columns is in each of the 21 that they become, over the area of 2.5 rows, too."""
    old, new = 40, 21
    edges = np.arange(new + 1) * old / new
    covered = np.minimum(edges[1:], np.arange(old)[:, None] + 1) - np.maximum(edges[:-1], np.arange(old)[:, None])
    return (np.maximum(covered, 0) / (old / new) / 2.5).astype(np.float32)


COLUMNS = shares_of_columns()


def resized(frame: np.ndarray) -> np.ndarray:
    """Scale (210, 160) to (84, 84) by area, as OpenCV's INTER_AREA does: 5 rows become 2, then 40 columns 21."""
    rows = frame.reshape(SIZE // 2, 5, WIDTH).astype(np.float32)
    halved = np.empty((SIZE // 2, 2, WIDTH), np.float32)
    rows[:, 2] *= 0.5
    np.add(rows[:, 0], rows[:, 1], out=halved[:, 0])
    np.add(rows[:, 3], rows[:, 4], out=halved[:, 1])
    halved += rows[:, 2:3]
    return np.rint(halved.reshape(-1, 40) @ COLUMNS).astype(np.uint8).reshape(SIZE, SIZE)


class Emulators:
    """So many emulators of one game, whose observations (N, 4, 84, 84) lie side by side."""

    def __init__(self, game: str, num: int, noop_max: int = 30):
        self.observations = np.zeros((num, NUM_STACKED, SIZE, SIZE), np.uint8)
        self.each = [Emulator(game, noop_max, observation) for observation in self.observations]
        self.num_actions = len(self.each[0].actions)

    def __len__(self) -> int:
        return len(self.each)


def play_alone(emulator: Emulator, seed: int, max_decisions: int, decide: Callable[[], int]) -> Iterator[tuple[float, bool]]:
    """Play an episode, decision by decision."""
    emulator.reset(seed)
    for number in range(1, max_decisions + 1):
        reward, is_over = emulator.step(decide())
        yield reward, is_over or number == max_decisions
        if is_over:
            return


def random_observations(emulator: Emulator, num: int, share: float, max_decisions: int, seed: int) -> np.ndarray:
    """Return (num, 4, 84, 84) uint8 of random play, each kept with the probability `share`: of many moments, or at 1 consecutive ones."""
    random = np.random.default_rng(seed)
    kept: list[np.ndarray] = []
    while True:
        episode = play_alone(emulator, int(random.integers(2**31)), max_decisions, lambda: int(random.integers(len(emulator.actions))))
        for _ in episode:
            if random.random() < share:
                kept.append(emulator.observation.copy())
                if len(kept) == num:
                    return np.stack(kept)


def digest(observations: np.ndarray) -> str:
    """Name a batch of observations by its content."""
    return hashlib.sha256(observations.tobytes()).hexdigest()


def baselines(emulator: Emulator, num_episodes: int, max_decisions: int, seed: int) -> dict[str, float]:
    """Return what needs no policy: the mean score of random play and of the best constant action, and which that is."""
    random = np.random.default_rng(seed)
    seeds = [int(number) for number in random.integers(2**31, size=num_episodes)]

    def mean_score(decide: Callable[[], int]) -> float:
        return float(np.mean([sum(reward for reward, _ in play_alone(emulator, each, max_decisions, decide)) for each in seeds]))

    constant = [mean_score(partial(int, action)) for action in range(len(emulator.actions))]
    return {
        "random_score": mean_score(lambda: int(random.integers(len(emulator.actions)))),
        "constant_score": max(constant),
        "constant_action": int(np.argmax(constant)),
    }
