"""How well logistic regression on counts of words tells the label of a text: scikit-learn's."""

from collections.abc import Iterator, Sequence

import numpy as np


def predictions(
    training: Sequence[str], labels: np.ndarray, others: Sequence[Sequence[str]], max_words: int, penalties: Sequence[float]
) -> Iterator[list[np.ndarray]]:
    """Yield, for each strength of the L2 penalty in turn, the labels that the fit gives to each of `others`.

    Of a text it sees which of the training texts' words, and runs of up to `max_words`, are in it and how often, by tf-idf.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(ngram_range=(1, max_words), sublinear_tf=True, token_pattern=r"\w+", dtype=np.float32)
    x = vectorizer.fit_transform(without_breaks(training))
    seen = [vectorizer.transform(without_breaks(texts)) for texts in others]
    for penalty in penalties:
        model = LogisticRegression(C=1 / penalty, max_iter=1000).fit(x, labels)
        yield [model.predict(each) for each in seen]


def without_breaks(texts: Sequence[str]) -> list[str]:
    return [text.replace("<br />", " ") for text in texts]
