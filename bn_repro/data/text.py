"""Which tokens a step sees: whole texts to classify, or windows of a stream of texts to predict; pure functions of (seed, step)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from bn_repro.config.text import TextDataConfig
from bn_repro.data.fetch import fetch
from bn_repro.data.images import order_of_epoch
from bn_repro.data.reviews import Reviews, as_texts, distinct, made_up_reviews, split
from bn_repro.data.vocabulary import PADDING


@dataclass(frozen=True)
class Texts:
    """Hold texts as tokens in a row and hand them out as batches, shorter ones filled up at their end; each begins with `BEGIN`.

    Args:
        tokens: of all texts, one after another.
        starts: (N + 1,), where each text starts, with the end of all.
        labels: (N,) int64.
    """

    tokens: Tensor
    starts: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (B, T) int64, T being the longest text's tokens, and y (B,)."""
        starts, ends = self.starts[index], self.starts[index + 1]
        longest = int((ends - starts).max()) if len(index) else 0
        places = starts[:, None] + torch.arange(longest, device=starts.device)
        x = self.tokens[places.clamp(max=len(self.tokens) - 1)].long()
        return x.masked_fill(places >= ends[:, None], PADDING), self.labels[index]

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        return self.at(torch.arange(start, min(stop, len(self)), device=self.starts.device))

    def in_batches(self, batch_size: int, rank: int = 0, num_ranks: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all texts in turn: of every batch the part of one rank; the last one may have none."""
        index = torch.arange(len(self), device=self.starts.device)
        for start in range(0, len(self), batch_size):
            yield self.at(index[start + rank : start + batch_size : num_ranks])

    def first(self, number: int | None) -> "Texts":
        return self if number is None else replace(self, starts=self.starts[: number + 1], labels=self.labels[:number])


@dataclass(frozen=True)
class NextTokens:
    """Hand texts out as what comes so far, x, and what comes next, y: each text by itself, its `BEGIN` given.

    Its length is the number of tokens to predict.
    """

    texts: Texts

    @cached_property
    def num_tokens(self) -> int:
        return int(self.texts.starts[-1] - self.texts.starts[0]) - len(self.texts)

    def __len__(self) -> int:
        return self.num_tokens

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return x (B, T), filled up at the end, and the next tokens y of all that is real in it, in a row: those of texts."""
        return shifted(self.texts.between(start, stop)[0])

    def in_batches(self, batch_size: int, rank: int = 0, num_ranks: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        return (shifted(x) for x, _ in self.texts.in_batches(batch_size, rank, num_ranks))

    def first(self, number: int | None) -> "NextTokens":
        return NextTokens(self.texts.first(number))


def shifted(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Turn texts (B, T + 1) into x (B, T), without each text's last token, and the tokens after x, in a row."""
    following = tokens[:, 1:]
    is_real = following != PADDING
    return tokens[:, :-1].masked_fill(~is_real, PADDING), following[is_real]


class Windows:
    """Give the window of a stream of texts that a language model reads at any step, where the step before it ended.

    Every epoch joins the texts in a fresh order, drawn from (seed, epoch), to one stream and cuts it into `num_streams`
    equal rows, which are read side by side; what does not fill a window is left out.

    Args:
        rank, num_ranks: give only every `num_ranks`-th row, from the one numbered `rank` on.
    """

    def __init__(self, texts: Texts, num_streams: int, window: int, seed: int, rank: int = 0, num_ranks: int = 1):
        self.texts, self.num_streams, self.window, self.seed = texts, num_streams, window, seed
        self.part = slice(rank, None, num_ranks)
        self.steps_per_epoch = (len(texts.tokens) - 1) // num_streams // window
        if self.steps_per_epoch == 0:
            raise ValueError(f"train.batch_size={num_streams} rows of network.window={window} are more than {len(texts.tokens)} tokens")
        self._epoch, self._rows = -1, torch.empty(0)

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return x (B, window) int64 and the tokens that follow each, y (B * window,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, self.rows_of(epoch)
        both = self._rows[self.part, position * self.window : (position + 1) * self.window + 1].long()
        return both[:, :-1], both[:, 1:].flatten()

    def rows_of(self, epoch: int) -> Tensor:
        """Return the rows (num_streams, tokens) of an epoch; each ends with the token that the next begins with."""
        order = order_of_epoch(len(self.texts), self.seed, epoch)
        tokens, starts = self.texts.tokens.cpu(), self.texts.starts.tolist()
        stream = torch.cat([tokens[starts[i] : starts[i + 1]] for i in order])
        length = self.steps_per_epoch * self.window
        return stream[: self.num_streams * length + 1].unfold(0, length + 1, length).to(self.texts.tokens.device)


@dataclass(frozen=True)
class Features:
    """Hold what a frozen encoder makes of texts, x (N, features), and hand it out as `Images` does pixels."""

    x: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[index], self.labels[index]

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        return self.x[start:stop], self.labels[start:stop]

    def in_batches(self, batch_size: int, rank: int = 0, num_ranks: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), batch_size):
            part = slice(start + rank, start + batch_size, num_ranks)
            yield self.x[part], self.labels[part]

    def first(self, number: int | None) -> "Features":
        return Features(self.x[:number], self.labels[:number])


def standardized(training: Features, held_out: Features, eps: float) -> tuple[Features, Features]:
    """Return both minus the mean of the training features, over their deviation: what batch norm of the whole training set makes."""
    var, mean = torch.var_mean(training.x, 0, correction=0)
    normed = [(features.x - mean) / (var + eps).sqrt() for features in (training, held_out)]
    return Features(normed[0], training.labels), Features(normed[1], held_out.labels)


def load_reviews(config: TextDataConfig) -> tuple[dict[str, Reviews], int]:
    """Return the reviews of training, validation and test, and how many were left out as repeats.

    Raises:
        DataUnavailable: no source delivers the dataset whole.
    """
    if config.name == "synthetic_text":
        everything = made_up_reviews()
    else:
        lines, labels = fetch(config.name, Path(config.folder))["train"]
        everything = Reviews(as_texts(lines), labels)
    kept = distinct(everything)
    return split(kept, config.validation_size, config.test_size, config.split_seed, config.training_size), len(everything) - len(kept)
