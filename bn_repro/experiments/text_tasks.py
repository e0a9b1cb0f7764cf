"""What a run on texts learns: to predict the next token, or the label of a text."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from bn_repro.baselines.ngrams import NGrams
from bn_repro.config import Config
from bn_repro.config.text import AwdLstmConfig, LanguageModelConfig, TextClassifierConfig, TextDataConfig
from bn_repro.data.images import Batches
from bn_repro.data.reviews import Reviews, labelled
from bn_repro.data.text import Features, NextTokens, Texts, Windows, load_reviews, standardized
from bn_repro.data.vocabulary import encode, learn_vocabulary, read_vocabulary
from bn_repro.experiments.language_models import language_model_run, load_encoder, pooled_features, read_features, write_features
from bn_repro.experiments.tasks import Poll, Task
from bn_repro.networks import init_he
from bn_repro.networks.awd_lstm import AwdLstm, LanguageModel, init_awd_lstm
from bn_repro.networks.text_classifier import PooledClassifier, PoolingClassifier, TextClassifier
from bn_repro.norms.modes import evaluating
from bn_repro.records import files
from bn_repro.records.record import run_folder
from bn_repro.training.distributed import from_first_rank, num_ranks, part_of_batch, rank, sum_over_ranks
from bn_repro.training.loop import Evaluation

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NGRAM_ORDERS = {"unigram": 1, "trigram": 3}
LARGEST_EXPONENT = 700.0  # whose power of e is a number


def language_model_task(config: Config, device: torch.device) -> Task:
    """Build an AWD-LSTM and what it reads: the training texts as a stream, the held-out ones each by itself.

    Raises:
        OSError: the dataset is nowhere to be had.
    """
    data, network, batch_size = config.data, config.network, config.train.batch_size
    assert isinstance(data, TextDataConfig) and isinstance(network, LanguageModelConfig)
    reviews, num_dropped = load_reviews(data)
    vocabulary = from_first_rank(lambda: own_vocabulary(config, data.vocabulary_size, reviews["training"]))
    texts = {part: as_tokens(reviews[part], vocabulary, data.max_tokens, device) for part in reviews}
    held_out = texts[data.evaluate_on]

    def closing_measures(model: nn.Module, loss: float, poll: Poll) -> dict[str, Any]:
        if network.keeps_features:
            features = {
                part: (pooled_features(model.encoder, own, network.window, data.evaluate_batch, poll), own.labels)
                for part, own in texts.items()
            }
            if rank() == 0:
                write_features(features, run_folder(config))
        counted, heard = ((own.tokens.cpu().numpy(), own.starts.cpu().numpy()) for own in (texts["training"], held_out))
        perplexities = {name: NGrams(*counted, vocabulary.get_vocab_size(), n).perplexity(*heard) for name, n in NGRAM_ORDERS.items()}
        return {
            "perplexity": math.exp(loss) if loss < LARGEST_EXPONENT else math.inf,
            **{f"perplexity_{name}": value for name, value in perplexities.items()},
            "num_training_tokens": len(texts["training"].tokens),
            "num_dropped_texts": num_dropped,
        }

    model = LanguageModel(
        build_encoder(network, vocabulary.get_vocab_size(), config.seed),
        part_of_batch(batch_size),
        network.output_drop,
        network.activation_penalty,
        network.temporal_penalty,
    )
    windows = Windows(texts["training"], batch_size, network.window, config.seed, rank(), num_ranks())
    return Task(model.to(device), windows, NextTokens(held_out), closing_measures, evaluate_next_tokens)


def text_classifier_task(config: Config, device: torch.device) -> Task:
    """Build a classifier of texts, or of a frozen encoder's kept features.

    Raises:
        OSError: the dataset is nowhere to be had.
        ValueError: the language model does not fit, or there are not so many labels.
    """
    data, network, seed = config.data, config.network, config.seed
    assert isinstance(data, TextDataConfig) and isinstance(network, TextClassifierConfig)
    run = language_model_run(config) if network.encoder else None
    training: Features | Texts
    held_out: Features | Texts
    if network.is_frozen:
        assert run is not None
        x, labels = read_features(run, "training")
        chosen = torch.from_numpy(labelled(labels.numpy(), data.num_labels, seed))
        training = Features(x[chosen].to(device), labels[chosen].to(device))
        held_out = Features(*(array.to(device) for array in read_features(run, data.evaluate_on)))
        if network.is_standardized:
            training, held_out = standardized(training, held_out, network.norm_eps)
        model: nn.Module = build_head(PooledClassifier, network, data.num_classes, seed)
    else:
        reviews, _ = load_reviews(data)
        from_encoder = read_vocabulary(run.folder / files.VOCABULARY) if run else None
        vocabulary = from_first_rank(lambda: own_vocabulary(config, data.vocabulary_size, reviews["training"], from_encoder))
        encoder = build_encoder(network, vocabulary.get_vocab_size(), seed)
        if run:
            load_encoder(encoder, run)
        read = reviews["training"].take(labelled(reviews["training"].labels, data.num_labels, seed))
        training = as_tokens(read, vocabulary, data.max_tokens, device)
        held_out = as_tokens(reviews[data.evaluate_on], vocabulary, data.max_tokens, device)
        model = TextClassifier(encoder, build_head(PoolingClassifier, network, data.num_classes, seed), network.window)
    batches = Batches(training, config.train.batch_size, seed, rank=rank(), num_ranks=num_ranks())
    return Task(model.to(device), batches, held_out, lambda *_: {"num_training_texts": len(training)})


def own_vocabulary(config: Config, size: int, training: Reviews, given: "Tokenizer | None" = None) -> "Tokenizer":
    """Return the vocabulary that the run keeps; at its beginning keep the given one, or learn one."""
    path = run_folder(config) / files.VOCABULARY
    if path.exists():
        return read_vocabulary(path)
    vocabulary = given or learn_vocabulary(training.texts, size)
    files.write_atomically(path, vocabulary.to_str(pretty=True).encode())
    return vocabulary


def as_tokens(reviews: Reviews, vocabulary: "Tokenizer", max_tokens: int, device: torch.device) -> Texts:
    tokens, starts = encode(vocabulary, reviews.texts, max_tokens)
    labels = torch.from_numpy(reviews.labels).long()
    return Texts(torch.from_numpy(tokens).to(device), torch.from_numpy(starts).to(device), labels.to(device))


def build_encoder(config: AwdLstmConfig, num_tokens: int, seed: int) -> AwdLstm:
    rates = (config.embedding_drop, config.input_drop, config.weight_drop, config.hidden_drop)
    encoder = AwdLstm(num_tokens, config.embedding, config.hidden, config.num_layers, *rates)
    init_awd_lstm(encoder, torch.Generator().manual_seed(seed))
    return encoder


def build_head(kind: type[PooledClassifier], config: TextClassifierConfig, num_classes: int, seed: int) -> PooledClassifier:
    """Build a head with He's initial weights; the same seed gives heads with any norm the same."""
    sizes = (3 * config.embedding, config.head_width, num_classes)
    head = kind(sizes, config.norm, config.head_drops, config.norm_eps, config.norm_momentum)
    init_he(head, torch.Generator().manual_seed(seed))
    return head


@torch.no_grad()
def evaluate_next_tokens(model: nn.Module, held_out: NextTokens, poll: Poll, batch_size: int) -> Evaluation:
    """Return the share of next tokens that are predicted and their mean cross-entropy, so many texts at a time."""
    sums = torch.zeros(2, dtype=torch.float64, device=next(model.parameters()).device)
    with evaluating(model):
        for x, y in held_out.in_batches(batch_size, rank(), num_ranks()):
            poll()
            if len(y):
                logits = model(x)
                sums[0] += (logits.argmax(1) == y).sum()
                sums[1] += F.cross_entropy(logits, y, reduction="sum")
    num_correct, loss_sum = sum_over_ranks(sums).tolist()
    return Evaluation(num_correct / len(held_out), loss_sum / len(held_out), None)
