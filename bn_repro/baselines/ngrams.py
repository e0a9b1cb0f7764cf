"""How well counting predicts the next token: interpolated Kneser-Ney (Kneser & Ney 1995, Chen & Goodman 1999), one discount an order."""

from dataclasses import dataclass

import numpy as np

from bn_repro.data.vocabulary import BEGIN


@dataclass(frozen=True)
class Counts:
    """Counts of n-grams of one order, and what follows from them; an n-gram is its tokens as digits of one number.

    Args:
        grams, counts: of each different n-gram, in order of the number.
        contexts: the different first n - 1 tokens, in order.
        totals, followers: of each context the sum of its n-grams' counts, and how many there are.
    """

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    followers: np.ndarray
    discount: float


class NGrams:
    """Give p(token | the order - 1 tokens before it), learned from texts that each begin with `BEGIN`.

    Lower orders count in how many different contexts an n-gram stands, not how often; the lowest is mixed with 1 / size.

    Args:
        tokens, starts: of all texts in a row, and where each starts, with the end of all.
        size: of the vocabulary.
    """

    def __init__(self, tokens: np.ndarray, starts: np.ndarray, size: int, order: int):
        if size**order >= 2**63:
            raise ValueError(f"{order}-grams of {size} tokens do not fit 64 bits")
        self.size, self.order = size, order
        grams, counts = np.unique(as_numbers(tokens, starts, size, order), return_counts=True)
        self.levels = [counted(grams, counts, size)]
        for shorter in range(order - 1, 0, -1):
            grams, counts = np.unique(grams % size**shorter, return_counts=True)
            self.levels.insert(0, counted(grams, counts, size))

    def probabilities(self, tokens: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return p of every token of texts but their `BEGIN`s, in order."""
        numbers = as_numbers(tokens, starts, self.size, self.order)
        p = np.full(len(numbers), 1 / self.size)
        for length, level in enumerate(self.levels, 1):
            gram = numbers % self.size**length
            count, total, followers = (
                looked_up(level.grams, level.counts, gram),
                looked_up(level.contexts, level.totals, gram // self.size),
                looked_up(level.contexts, level.followers, gram // self.size),
            )
            mixed = np.maximum(count - level.discount, 0) + level.discount * followers * p
            p = np.divide(mixed, total, out=p, where=total > 0)  # of a context never seen, what the shorter one says
        return p

    def perplexity(self, tokens: np.ndarray, starts: np.ndarray) -> float:
        return float(np.exp(-np.log(self.probabilities(tokens, starts)).mean()))


def as_numbers(tokens: np.ndarray, starts: np.ndarray, size: int, order: int) -> np.ndarray:
    """Return each token but `BEGIN`s together with those before it, `BEGIN`s before a text's first, as one number."""
    is_first = np.zeros(len(tokens), bool)
    is_first[starts[:-1]] = True
    place = np.arange(len(tokens)) - np.repeat(starts[:-1], np.diff(starts))  # within its text
    numbers = np.zeros(len(tokens), np.int64)
    for back in range(order - 1, -1, -1):
        earlier = np.where(place >= back, np.roll(tokens, back), BEGIN)
        numbers = numbers * size + earlier
    return numbers[~is_first]


def counted(grams: np.ndarray, counts: np.ndarray, size: int) -> Counts:
    contexts, first = np.unique(grams // size, return_index=True)
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    followers = np.diff([*first, len(grams)])
    return Counts(grams, counts, contexts, np.add.reduceat(counts, first), followers, once / max(once + 2 * twice, 1))


def looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the values of wanted keys, 0 of those that are not there; keys are in order."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)
