"""The encoder that ULMFiT's classifier stands on, and the language model that trains it (Merity et al. 2017): AWD-LSTM.

Of the five dropouts four are the encoder's: of tokens, of its inputs, of its hidden-to-hidden weights, between its layers.
The fifth, of its outputs, is the language model's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bn_repro.data.vocabulary import PADDING

State = Sequence[tuple[Tensor, Tensor]]  # h and c (B, features) of each layer


class Predictions(NamedTuple):
    """What a language model returns in training: logits (tokens, V), and what is added to their cross-entropy."""

    logits: Tensor
    penalty: Tensor


class DropEmbedding(nn.Embedding):
    """Look tokens (B, T) up; in training whole tokens' embeddings are dropped, each wherever it stands."""

    def __init__(self, num_tokens: int, features: int, drop_rate: float):
        super().__init__(num_tokens, features)
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.training and self.drop_rate:
            weight = weight * F.dropout(weight.new_ones(len(weight), 1), self.drop_rate)
        return F.embedding(x, weight)


class WeightDropLSTM(nn.LSTM):
    """Run one LSTM layer on (B, T, features) whose hidden-to-hidden weights are dropped, alike at all tokens of a call.

    Same parameters and names as torch's; those that `torch.func.functional_call` puts in their place are used.
    """

    def __init__(self, inputs: int, outputs: int, weight_drop: float):
        super().__init__(inputs, outputs, batch_first=True)
        self.weight_drop = weight_drop

    def forward(self, u: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if state is None:
            state = 2 * (u.new_zeros(len(u), self.hidden_size),)
        weight_hh = F.dropout(self.weight_hh_l0, self.weight_drop, self.training)
        weights = [self.weight_ih_l0, weight_hh, self.bias_ih_l0, self.bias_hh_l0]
        outputs, h, c = torch.lstm(u, [part[None] for part in state], weights, True, 1, 0.0, self.training, False, True)
        return outputs, (h[0], c[0])


class AwdLstm(nn.Module):
    """Map tokens (B, T) to what the last layer says at each of them, (B, T, embedding).

    Args:
        embedding: features of a token and of the last layer, so that a language model can tie its output to the embeddings.
    """

    def __init__(
        self,
        num_tokens: int,
        embedding: int = 400,
        hidden: int = 1152,
        num_layers: int = 3,
        embedding_drop: float = 0.0,
        input_drop: float = 0.0,
        weight_drop: float = 0.0,
        hidden_drop: float = 0.0,
    ):
        super().__init__()
        self.input_drop, self.hidden_drop = input_drop, hidden_drop
        self.widths = [hidden] * (num_layers - 1) + [embedding]
        self.embedding = DropEmbedding(num_tokens, embedding, embedding_drop)
        self.layers = nn.ModuleList(WeightDropLSTM(i, o, weight_drop) for i, o in zip([embedding, *self.widths], self.widths))

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the outputs and the state after the last token; a state of None is that of a text's beginning."""
        u = locked_dropout(self.embedding(x), self.input_drop, self.training)
        after = []
        for number, layer in enumerate(self.layers):
            if number:
                u = locked_dropout(u, self.hidden_drop, self.training)
            u, own = layer(u, None if state is None else state[number])
            after.append(own)
        return u, after


class LanguageModel(nn.Module):
    """Foretell the token after each one, by the encoder's embeddings as output weights.

    In training it reads on where the last call ended, and returns `Predictions`. Otherwise each row is a text from its
    beginning, and it returns the logits of the tokens after all that are not padding, in a row.

    Args:
        num_streams: rows of a training batch.
        activation_penalty, temporal_penalty: alpha and beta of Merity et al. 2017.
    """

    def __init__(
        self,
        encoder: AwdLstm,
        num_streams: int,
        output_drop: float = 0.0,
        activation_penalty: float = 0.0,
        temporal_penalty: float = 0.0,
    ):
        super().__init__()
        self.encoder, self.output_drop = encoder, output_drop
        self.activation_penalty, self.temporal_penalty = activation_penalty, temporal_penalty
        self.bias = nn.Parameter(torch.zeros(encoder.embedding.num_embeddings))
        self.register_buffer("carried", torch.zeros(2, num_streams, sum(encoder.widths)))  # h and c of all layers side by side

    def forward(self, x: Tensor) -> Tensor | Predictions:
        if not self.training:
            outputs, _ = self.encoder(x)
            return self.logits(outputs[x != PADDING])
        h, c = self.carried.clone()
        outputs, state = self.encoder(x, list(zip(h.split(self.encoder.widths, 1), c.split(self.encoder.widths, 1))))
        self.carried.copy_(torch.stack([torch.cat(parts, 1).detach() for parts in zip(*state)]))
        dropped = locked_dropout(outputs, self.output_drop, self.training)
        penalty = self.activation_penalty * dropped.float().square().mean()
        penalty = penalty + self.temporal_penalty * outputs.float().diff(dim=1).square().mean()
        return Predictions(self.logits(dropped.flatten(0, 1)), penalty)

    def logits(self, outputs: Tensor) -> Tensor:  # (tokens, embedding) -> (tokens, V)
        return F.linear(outputs, self.encoder.embedding.weight, self.bias)


def locked_dropout(u: Tensor, rate: float, is_training: bool) -> Tensor:
    """Drop features of (B, T, features), the same at all tokens of a row (Gal & Ghahramani 2016)."""
    if not is_training or not rate:
        return u
    return u * F.dropout(u.new_ones(len(u), 1, u.shape[2]), rate)


@torch.no_grad()
def init_awd_lstm(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the initial weights: embeddings from U(-0.1, 0.1), those of LSTMs from U(-h^-1/2, h^-1/2), h their features."""
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            module.weight.uniform_(-0.1, 0.1, generator=generator)
        elif isinstance(module, nn.LSTM):
            bound = module.hidden_size**-0.5
            for parameter in module.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
