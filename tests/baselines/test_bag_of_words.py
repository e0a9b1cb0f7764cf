"""Does the bag-of-words baseline learn from words, and from pairs of words where it may?"""

import numpy as np
import pytest

from bn_repro.baselines.bag_of_words import predictions


@pytest.mark.parametrize("max_words, is_right", [(1, False), (2, True)])
def test_what_only_pairs_of_words_tell_takes_pairs(max_words, is_right):
    training = ["not good but bad", "not bad but good"] * 20
    labels = np.array([0, 1] * 20)
    ((predicted,),) = predictions(training, labels, [["it was not good", "it was not bad"]], max_words, [0.01])
    assert (predicted.tolist() == [0, 1]) == is_right


def test_one_fit_a_penalty_and_answers_for_each_list_of_texts():
    training, labels = ["fine<br />film", "dull film", "fine", "dull"], np.array([1, 0, 1, 0])
    fits = list(predictions(training, labels, [["so fine"], ["so dull", "fine fine"]], 1, [1.0, 0.1]))
    assert [[answers.tolist() for answers in fit] for fit in fits] == [[[1], [0, 1]]] * 2
