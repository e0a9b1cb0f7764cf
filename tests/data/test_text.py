"""Do tokens arrive as texts filled up at their end, as next tokens to predict, and as a stream that goes on from step to step?"""

import numpy as np
import pytest
import torch

from bn_repro.data.text import Features, NextTokens, Texts, Windows, standardized
from bn_repro.data.vocabulary import BEGIN, PADDING, encode, learn_vocabulary, read_vocabulary

LENGTHS = (3, 5, 1, 4)


def texts(lengths=LENGTHS):
    """Text n is BEGIN, 10n + 11, 10n + 12, ..."""
    rows = [[BEGIN, *(10 * n + 10 + i for i in range(1, length))] for n, length in enumerate(lengths)]
    tokens = torch.tensor([token for row in rows for token in row], dtype=torch.int32)
    return Texts(tokens, torch.tensor(np.cumsum([0, *lengths])), torch.tensor([0, 1, 1, 0] + [0] * (len(lengths) - 4)))


def test_a_batch_is_filled_up_to_its_longest_text():
    x, y = texts().at(torch.tensor([0, 2, 3]))
    assert x.tolist() == [[BEGIN, 11, 12, PADDING], [BEGIN, PADDING, PADDING, PADDING], [BEGIN, 41, 42, 43]]
    assert y.tolist() == [0, 1, 0] and x.dtype == y.dtype == torch.int64


def test_batches_in_turn_and_parts_of_ranks():
    whole = [x.tolist() for x, _ in texts().in_batches(3)]
    assert [len(x) for x in whole] == [3, 1] and whole[1] == [[BEGIN, 41, 42, 43]]
    parts = [list(texts().in_batches(3, rank, 2)) for rank in range(2)]
    assert [[len(y) for _, y in part] for part in parts] == [[2, 1], [1, 0]]
    first = texts().first(2)
    assert len(first) == 2 and first.between(1, 9)[0].tolist() == [[BEGIN, 21, 22, 23, 24]]
    assert len(texts().first(None)) == 4


def test_next_tokens_are_those_after_each_but_the_last():
    held_out = NextTokens(texts())
    ((x, y),) = held_out.in_batches(4)
    assert x.tolist() == [[BEGIN, 11, 0, 0], [BEGIN, 21, 22, 23], [0, 0, 0, 0], [BEGIN, 41, 42, 0]]
    assert y.tolist() == [11, 12, 21, 22, 23, 24, 41, 42, 43] and len(held_out) == len(y) == sum(LENGTHS) - 4
    assert len(held_out.first(2)) == 6 and held_out.between(3, 4)[1].tolist() == [41, 42, 43]


def test_windows_follow_each_other_along_every_row():
    lengths = tuple(np.random.default_rng(0).integers(1, 9, 40).tolist())
    windows = Windows(texts(lengths), num_streams=3, window=4, seed=0)
    steps = windows.steps_per_epoch
    assert steps == (sum(lengths) - 1) // 3 // 4
    seen = [windows.at(step) for step in range(2 * steps)]
    for (x, y), (following, _) in zip(seen[: steps - 1], seen[1:]):
        assert x.shape == (3, 4) and y.view(3, 4)[:, :-1].equal(x[:, 1:])
        assert y.view(3, 4)[:, -1].equal(following[:, 0])
    rows = torch.cat([x for x, _ in seen[:steps]], 1)
    assert rows.flatten().tolist() == windows.texts.tokens[stream_of(windows.texts, seed=0, epoch=0)][: rows.numel()].tolist()
    assert not rows.equal(torch.cat([x for x, _ in seen[steps:]], 1))  # the next epoch's order


def stream_of(texts, seed, epoch):
    order = np.random.default_rng([seed, epoch]).permutation(len(texts))
    return torch.cat([torch.arange(int(texts.starts[i]), int(texts.starts[i + 1])) for i in order])


def test_a_window_depends_on_seed_and_step_alone():
    make = lambda seed: Windows(texts((6,) * 10), 2, 5, seed)  # noqa: E731
    again = make(0)
    for step in (7, 0, 3, 11):
        assert again.at(step)[0].equal(make(0).at(step)[0])
    assert not all(make(0).at(step)[0].equal(make(1).at(step)[0]) for step in range(4))
    halves = [Windows(texts((6,) * 10), 2, 5, 0, rank, 2).at(3)[0] for rank in range(2)]
    assert torch.cat(halves).equal(make(0).at(3)[0])


def test_a_stream_too_short_is_refused():
    with pytest.raises(ValueError, match="train.batch_size=2 rows of network.window=7 are more than 13 tokens"):
        Windows(texts(), 2, 7, 0)


def test_features_are_handed_out_as_images_are():
    features = Features(torch.arange(12.0).view(6, 2), torch.arange(6))
    assert features.at(torch.tensor([4, 0]))[0].tolist() == [[8, 9], [0, 1]]
    assert [y.tolist() for _, y in features.in_batches(4, 1, 2)] == [[1, 3], [5]]
    assert features.first(3).between(1, 9)[1].tolist() == [1, 2] and len(features.first(None)) == 6


TRAINING = ["The film was good.<br /><br />Very  good!", "The end, the END.", "Überraschend gut"] * 5


def test_features_are_standardized_as_by_a_batch_norm_of_the_training_set():
    training, held_out = (Features(3 + torch.randn(n, 4, generator=torch.Generator().manual_seed(n)), torch.arange(n)) for n in (20, 5))
    norm = torch.nn.BatchNorm1d(4, affine=False, momentum=1.0, eps=1e-3)
    expected = norm(training.x)
    norm.running_var *= 19 / 20  # torch keeps the unbiased variance
    shown, unseen = standardized(training, held_out, eps=1e-3)
    torch.testing.assert_close(shown.x, expected)
    torch.testing.assert_close(unseen.x, norm.eval()(held_out.x))
    assert shown.labels is training.labels and unseen.labels is held_out.labels


def test_the_same_texts_give_the_same_vocabulary():
    first, again = (learn_vocabulary(TRAINING, 280) for _ in range(2))
    assert first.to_str() == again.to_str() and first.get_vocab_size() == 280
    assert first.token_to_id("<padding>") == PADDING and first.token_to_id("<begin>") == BEGIN
    assert learn_vocabulary(TRAINING, 10_000).get_vocab_size() < 400  # there are no more pieces


def test_every_text_can_be_read_and_reads_back():
    tokenizer = learn_vocabulary(TRAINING, 300)
    for text in ("日本語 and ñ, 🎬!", "Never-seen words", "a<br />b\tc"):
        ids = tokenizer.encode(text).ids
        assert PADDING not in ids and BEGIN not in ids
        assert tokenizer.decode(ids).strip() == text.lower().replace("<br />", " ").replace("\t", " ")


def test_of_a_text_longer_than_is_read_the_end_is():
    tokenizer = learn_vocabulary(TRAINING, 300)
    long, short = "good " * 50 + "the end", "the end"
    tokens, starts = encode(tokenizer, [long, short, "<br />"], max_tokens=6)
    assert starts.tolist()[1] == 6 and tokens[0] == BEGIN
    assert tokens[1:6].tolist() == tokenizer.encode(long).ids[-5:]
    assert tokens[starts[1] : starts[2]].tolist() == [BEGIN, *tokenizer.encode(short).ids][:6]
    assert tokens[starts[2] :][0] == BEGIN


def test_a_kept_vocabulary_reads_back_and_a_damaged_one_is_one_line(tmp_path):
    tokenizer, path = learn_vocabulary(TRAINING, 300), tmp_path / "kept"
    path.write_text(tokenizer.to_str(pretty=True))
    assert read_vocabulary(path).to_str() == tokenizer.to_str()
    path.write_text(path.read_text()[:-50])
    for broken in (path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="cannot be read as a vocabulary") as caught:
            read_vocabulary(broken)
        assert "\n" not in str(caught.value)
