"""Which tokens a text is read as: pieces of words (byte-pair encoding), learned on the training texts and kept with the run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING, BEGIN = 0, 1  # what fills a batch's shorter texts up, and what stands before each text
SPECIAL = ["<padding>", "<begin>"]
NUM_BYTES = 256  # every text can be written in them, so that no token is unknown


def learn_vocabulary(texts: Sequence[str], size: int) -> "Tokenizer":
    """Learn `size` tokens, lower case: the special ones, the bytes, and the pieces of words that occur most often.

    The same texts give the same tokens. Of few texts they may be fewer.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    be_one_thread()
    tokenizer = Tokenizer(models.BPE())
    spaces = normalizers.Replace(Regex(r"(<br />|\s)+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces, normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def read_vocabulary(path: Path) -> "Tokenizer":
    """Read what a run kept.

    Raises:
        ValueError: the file is missing, or no vocabulary.
    """
    from tokenizers import Tokenizer

    be_one_thread()
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare ones
        raise ValueError(f"{path} cannot be read as a vocabulary: {error}") from error


def encode(tokenizer: "Tokenizer", texts: Sequence[str], max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of all texts in a row, int32, and where each starts, with the end of all: (N + 1,).

    Of a longer text its beginning is cut off: a review's verdict stands at its end. `BEGIN` counts as one of `max_tokens`.
    """
    encoded = [[BEGIN, *one.ids[-(max_tokens - 1) :]] for one in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    starts = np.cumsum([0, *map(len, encoded)])
    return np.concatenate([np.array(ids, np.int32) for ids in encoded]), starts


def be_one_thread() -> None:
    """Keep the library from starting a thread a core; runs have a core each."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
