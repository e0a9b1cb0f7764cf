"""Do counted n-grams give the probabilities that Kneser and Ney's formula gives by hand?"""

import numpy as np
import pytest

from bn_repro.baselines.ngrams import NGrams
from bn_repro.data.vocabulary import BEGIN

A, B, C = 2, 3, 4
SIZE = 5


def joined(*rows):
    rows = [[BEGIN, *row] for row in rows]
    return np.array([token for row in rows for token in row], np.int32), np.cumsum([0, *map(len, rows)])


def test_a_unigram_model_by_hand():
    """Counts a 3, b 1, c 1 of 5: two once, none twice, so D = 1; p = max(count - 1, 0) / 5 + 1 * 3 / 5 * 1/5."""
    model = NGrams(*joined([A, A, B], [A, C]), SIZE, order=1)
    p = model.probabilities(*joined([A, B, C]))
    assert p == pytest.approx([2 / 5 + 3 / 25, 3 / 25, 3 / 25])


def test_a_bigram_model_by_hand():
    """Bigrams ^a 2, aa 1, ab 1, ac 1: D = 3 / (3 + 2). In how many contexts: a 2, b 1, c 1, so D = 2 / (2 + 2)."""
    model = NGrams(*joined([A, A, B], [A, C]), SIZE, order=2)
    once = {A: (2 - 0.5) / 4 + 0.5 * 3 / 4 / 5, B: (1 - 0.5) / 4 + 0.5 * 3 / 4 / 5}
    p = model.probabilities(*joined([A, B, A]))
    assert p == pytest.approx(
        [
            (2 - 0.6) / 2 + 0.6 * 1 / 2 * once[A],
            (1 - 0.6) / 3 + 0.6 * 3 / 3 * once[B],
            once[A],  # nothing followed b
        ]
    )
    assert model.perplexity(*joined([A, B, A])) == pytest.approx(np.exp(-np.log(p).mean()))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_sum_to_one_after_any_context(order):
    draw = np.random.default_rng(order)
    model = NGrams(*joined(*(draw.integers(1, 9, 12).tolist() for _ in range(30))), 9, order)
    for context in ([], [3], [5, 5], [7, 1, 8]):
        p = model.probabilities(*joined(*([*context, token] for token in range(9))))
        assert p.reshape(9, -1)[:, -1].sum() == pytest.approx(1)


def test_what_cannot_be_numbered_is_refused():
    with pytest.raises(ValueError, match="5-grams of 60000 tokens do not fit"):
        NGrams(*joined([A]), 60_000, 5)
