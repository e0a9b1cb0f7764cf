"""What training and evaluation ask of any dataset: batches by step, and examples in batches."""

from collections.abc import Iterator
from typing import Protocol, Self

from torch import Tensor


class TrainingBatches(Protocol):
    """Training batches, each a pure function of its step."""

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return what the network reads, and what it shall say of it."""


class Examples(Protocol):
    """Held-out examples; their number is that of the network's answers."""

    def __len__(self) -> int: ...

    def first(self, number: int | None) -> Self:
        """Return the first so many; None returns all."""

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the examples from `start` to before `stop` as one batch."""

    def in_batches(self, batch_size: int, rank: int = 0, num_ranks: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all in turn: of every batch the part of one rank; the last one may have none."""


class Indexed(Examples, Protocol):
    """Examples of which any can be had in any order."""

    @property
    def labels(self) -> Tensor:
        """Return (N,)."""

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the examples of these places as one batch."""
