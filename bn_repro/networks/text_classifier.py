"""ULMFiT's classifier (Howard & Ruder 2018): concat pooling of an encoder's outputs, then two linear layers, each below a norm."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bn_repro.data.vocabulary import PADDING
from bn_repro.networks.awd_lstm import AwdLstm
from bn_repro.norms import build_norm


class NormedInput(nn.Module):
    """Apply norm, dropout, linear map and nonlinearity, in this order: fastai's, in which BN stands before its layer."""

    def __init__(self, norm: nn.Module, drop_rate: float, linear: nn.Linear, nonlinearity: nn.Module):
        super().__init__()
        self.norm = norm
        self.dropout = nn.Dropout(drop_rate)
        self.linear = linear
        self.nonlinearity = nonlinearity

    def forward(self, u: Tensor) -> Tensor:
        return self.nonlinearity(self.linear(self.dropout(self.norm(u))))


class PooledClassifier(nn.Module):
    """Map pooled outputs (N, sizes[0]) to logits (N, sizes[-1]), ReLU between the layers.

    Args:
        sizes: features of the input, of what is between layers, and of the output; published (1200, 50, 2).
        norm: one of `config.NORMS`. A layer has a bias only without one, as in public practice.
        drop_rates: of each layer's input.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        norm: str = "batch",
        drop_rates: Sequence[float] = (0.4, 0.1),
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ):
        super().__init__()
        if len(drop_rates) != len(sizes) - 1:
            raise ValueError(f"sizes={tuple(sizes)} make {len(sizes) - 1} layers, drop_rates={tuple(drop_rates)} are for {len(drop_rates)}")
        self.blocks = nn.Sequential(
            *(
                NormedInput(
                    build_norm(norm, fan_in, 0, norm_eps, norm_momentum),
                    drop_rate,
                    nn.Linear(fan_in, fan_out, bias=norm == "none"),
                    nn.ReLU() if number < len(sizes) - 1 else nn.Identity(),
                )
                for number, (fan_in, fan_out, drop_rate) in enumerate(zip(sizes, sizes[1:], drop_rates), 1)
            )
        )

    def forward(self, pooled: Tensor) -> Tensor:
        return self.blocks(pooled)


class PoolingClassifier(PooledClassifier):
    """Classify what any encoder says at each token: concat pooling, then `PooledClassifier`.

        head = PoolingClassifier(sizes=(3 * features, 50, 2), norm="batch")
        logits = head(outputs, is_real)  # (N, T, features), (N, T)

    With the published sizes (1200, 50, 2) and batch norm it has 62,600 parameters.
    """

    def forward(self, outputs: Tensor, is_real: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(concat_pooling(outputs, is_real))


def concat_pooling(outputs: Tensor, is_real: Tensor) -> Tensor:
    """Return [last, largest, mean] over the real tokens of outputs (N, T, features), side by side: (N, 3 * features).

    Args:
        is_real: (N, T), bool or 0 and 1; False where a token is padding, which never counts, wherever it stands. Each row has a real one.

    Raises:
        ValueError: `is_real` is not of the outputs' shape (N, T), has other numbers than 0 and 1, or a row without a real token.
    """
    if outputs.dim() != 3 or not outputs.is_floating_point():
        raise ValueError(f"outputs must be numbers (N, T, features), not {tuple(outputs.shape)} of {outputs.dtype}")
    if is_real.shape != outputs.shape[:2]:
        raise ValueError(
            f"is_real must say of each token whether it is real, {tuple(outputs.shape[:2])}; it has shape {tuple(is_real.shape)}"
        )
    if is_real.dtype != torch.bool:
        if not ((is_real == 0) | (is_real == 1)).all():
            raise ValueError("is_real must be 1 where a token is real and 0 where it is padding, not what is added to scores")
        is_real = is_real.bool()
    if not is_real.any(1).all():
        raise ValueError(f"row {int((~is_real.any(1)).nonzero()[0])} has no real token to pool")
    places = torch.arange(is_real.shape[1], device=is_real.device)
    last = outputs[torch.arange(len(outputs), device=outputs.device), (places * is_real).argmax(1)]
    is_real = is_real[:, :, None]
    largest = outputs.masked_fill(~is_real, -torch.inf).amax(1)
    sums = outputs.masked_fill(~is_real, 0).sum(1, dtype=torch.promote_types(outputs.dtype, torch.float32))  # float16 ends at 65,504
    return torch.cat([last, largest, (sums / is_real.sum(1)).to(outputs.dtype)], 1)


class TextClassifier(nn.Module):
    """Classify texts (N, T) of tokens, shorter ones filled up with padding: encoder, then pooling head.

    Args:
        window: tokens between two truncations of backpropagation; all windows' outputs are pooled.
    """

    def __init__(self, encoder: AwdLstm, head: PoolingClassifier, window: int = 72):
        super().__init__()
        self.encoder, self.head, self.window = encoder, head, window

    def forward(self, x: Tensor) -> Tensor:
        return self.head(encoded(self.encoder, x, self.window), x != PADDING)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Return what is trained at a rate of its own, from the bottom up: embeddings, each LSTM, the head."""
        return [list(part.parameters()) for part in (self.encoder.embedding, *self.encoder.layers, self.head)]


def encoded(encoder: AwdLstm, x: Tensor, window: int) -> Tensor:
    """Return the encoder's outputs (N, T, features); gradients stay within windows of so many tokens."""
    outputs, state = [], None
    for part in x.split(window, 1):
        u, state = encoder(part, state)
        state = [(h.detach(), c.detach()) for h, c in state]
        outputs.append(u)
    return torch.cat(outputs, 1)
