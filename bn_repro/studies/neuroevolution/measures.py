"""What runs of evolution say of one seed, over its games: how diverse perturbed policies are, and what they score."""

from collections.abc import Callable, Sequence

import numpy as np

from bn_repro.records.record import Run
from bn_repro.verdicts.selection import Games
from bn_repro.verdicts.statistics import Mean

GamePairs = Sequence[tuple[Games, Games]]  # of one seed: (reference, subject)
Measure = Callable[[GamePairs], Mean | None]
LEAST_GAMES = 3  # of which a difference between norms is judged, since games differ more than seeds
LEAST_GAMES_OF_ONE = 5  # of which a number of one norm is
ES_SIGMA, GA_SIGMA = 0.02, 0.005  # of the newer public code's ES, and of the older one's GA
UNPERTURBED = 0.0  # the sigma of the parent itself
WHOLE = 1.0  # the most that a share, or a difference of two, can be
FIRST, LAST = 0, -1  # rows: around the random parent, and around the one that the run came to

# Mean scores of an episode: random play, and ES after one hour on 1,440 workers, 1e9 frames (Salimans et al. 2017, table 3).
PUBLISHED = {
    #            random      ES
    "breakout": (1.7, 9.5),
    "freeway": (0.0, 31.0),
    "frostbite": (65.2, 370.0),
    "kangaroo": (52.0, 11200.0),
    "pong": (-20.7, 21.0),
    "qbert": (163.9, 147.5),
    "skiing": (-17098.0, -15442.0),
    "venture": (0.0, 760.0),
    "zaxxon": (32.5, 6380.0),
}
RESAMPLES = 2_000
QUARTILE = 0.25


def diversity(run: Run, sigma: float, what: str, row: int = FIRST) -> float:
    """Return a measure of diversity, of the first or the last row that has it."""
    name = f"diversity/sigma_{sigma:g}/{what}"
    return [found[name] for found in run.metrics if name in found][row]


def over_games(value: Callable[[Games, Games, str], float], least_games: int = LEAST_GAMES, most: float = np.inf) -> Measure:
    """Average a number of (reference's games, subject's games, game) over the games, seed by seed; None of too few games.

    The interval is over seeds and games: what the games' means scatter is an error that more seeds do not make smaller.

    Args:
        most: that the number can be, on either side of 0.
    """

    def measure(pairs: GamePairs) -> Mean | None:
        table = np.array([[value(reference, subject, game) for game in subject] for reference, subject in pairs])  # (seeds, games)
        num_games = table.shape[1]
        if num_games < least_games:
            return None
        variance = float(table.mean(0).var(ddof=1) / num_games)
        return Mean(table.mean(1).tolist(), variance, freedom_besides=num_games - 1, least=-most, most=most)

    return measure


def of_subject(sigma: float, what: str, row: int = FIRST) -> Measure:
    """Return a measure of the subject alone."""
    return over_games(lambda _, subject, game: diversity(subject[game], sigma, what, row), LEAST_GAMES_OF_ONE, WHOLE)


def by_perturbing(sigma: float, what: str) -> Measure:
    """Return how much more the subject's perturbed policies have than their parent."""
    return over_games(
        lambda _, subject, game: diversity(subject[game], sigma, what) - diversity(subject[game], UNPERTURBED, what),
        LEAST_GAMES_OF_ONE,
        WHOLE,
    )


def more(sigma: float, what: str, row: int = FIRST, most: float = WHOLE) -> Measure:
    """Return how much more the subject has than the reference, at most `most`."""
    return over_games(
        lambda reference, subject, game: diversity(subject[game], sigma, what, row) - diversity(reference[game], sigma, what, row),
        most=most,
    )


def fewer(sigma: float, what: str, row: int = FIRST) -> Measure:
    return over_games(
        lambda reference, subject, game: diversity(reference[game], sigma, what, row) - diversity(subject[game], sigma, what, row),
        most=WHOLE,
    )


def normalized(score: float, game: str) -> float:
    """Return a score between random play (0) and the published one of ES (1)."""
    random, published = PUBLISHED[game]
    return (score - random) / (published - random)


def score_at(run: Run, frames: float) -> float:
    """Return the score after so many frames, between rows on a straight line."""
    _, at = run.column("frames")
    _, scores = run.column("score")
    return float(np.interp(frames, at, scores))


def last_frames(run: Run) -> float:
    return float(run.summary["frames"])


def score_gained(reference: Games, subject: Games, game: str) -> float:
    """Return by how much the subject's normalized score is higher, at the last frames that both played."""
    frames = min(last_frames(reference[game]), last_frames(subject[game]))
    return normalized(score_at(subject[game], frames), game) - normalized(score_at(reference[game], frames), game)


def score_learned(_: Games, subject: Games, game: str) -> float:
    """Return by how much the normalized score is higher at the end than of the initial policy."""
    return normalized(subject[game].summary["score"], game) - normalized(score_at(subject[game], 0), game)


def reference_share(run: Run) -> float:
    """Return the share of the time of a run's generations, in percent, that passes of the reference batch took."""
    parts = run.summary["seconds_by_part"]
    return 100 * parts["reference"] / sum(parts.values())


def interquartile_mean(values: np.ndarray) -> float:
    """Return the mean of the middle half of all values, which outer ones do not move (Agarwal et al. 2021)."""
    ordered = np.sort(values, axis=None)
    cut = int(QUARTILE * len(ordered))
    return float(ordered[cut : len(ordered) - cut].mean())


def interquartile_interval(table: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Return the interquartile mean of (seeds, games) and its 95 % interval by a bootstrap that redraws seeds within each game."""
    random = np.random.default_rng(seed)
    num_seeds, num_games = table.shape
    drawn = random.integers(num_seeds, size=(RESAMPLES, num_seeds, num_games))
    means = [interquartile_mean(np.take_along_axis(table, rows, axis=0)) for rows in drawn]
    low, high = np.percentile(means, (2.5, 97.5))
    return interquartile_mean(table), float(low), float(high)
