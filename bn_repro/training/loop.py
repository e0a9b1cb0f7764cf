"""How a network is trained: one loop, the same for every network, norm and probe."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bn_repro.config import TrainConfig
from bn_repro.data.examples import Examples, TrainingBatches
from bn_repro.norms.modes import evaluating
from bn_repro.training.distributed import mean_over_ranks, num_ranks, rank, sum_over_ranks
from bn_repro.training.schedule import has_row, set_rates


class Interrupted(Exception):
    """The run was asked to stop; its state is saved and it can go on."""


@dataclass
class TrainState:
    """Everything that the next step depends on, but for the batch, which depends on the step alone."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)  # of the steps since the last row of metrics
    first_bad_step: int | None = None
    forward: Callable[[Tensor], Tensor] | None = None  # what computes a step's logits, if not the network as it is

    def as_plain(self) -> dict[str, Any]:
        """Return tensors and plain values, for a checkpoint."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "losses": torch.stack(self.losses) if self.losses else torch.empty(0),
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        self.network.load_state_dict(plain["network"])
        self.optimizer.load_state_dict(plain["optimizer"])
        self.step = plain["step"]
        self.losses = list(plain["losses"].to(next(self.network.parameters()).device))
        torch.set_rng_state(plain["rng"].cpu())
        if plain["device_rng"] is not None:
            torch.cuda.set_rng_state(plain["device_rng"].cpu())


class Evaluation(NamedTuple):
    """What a network does on a set of examples.

    Args:
        accuracy: a fraction.
        loss: mean cross-entropy in nats.
        is_correct: (N,) bool, of each example in order; None where there are too many to keep.
    """

    accuracy: float
    loss: float
    is_correct: np.ndarray | None


def train(
    state: TrainState,
    batches: TrainingBatches,
    config: TrainConfig,
    measure: Callable[[int, float | None], bool | None],
    save: Callable[[], None],
    poll: Callable[[], None],
) -> None:
    """Train from `state.step` to the last step, or to the first row of metrics after the loss left the finite numbers.

    Args:
        measure: called before every step that `has_row`, with the step and the mean loss since its last call; where it returns
            True, training ends here.
        save: called to checkpoint the state; always before `measure`, so that a resumed run repeats the row.
        poll: called before every step; it shows progress, and raises `Interrupted` when the run is to stop.

    Raises:
        Interrupted: `poll` or `measure` raised it; the state was saved.
    """
    forward = state.network if state.forward is None else state.forward
    optimizer = state.optimizer
    start = state.step
    device = next(state.network.parameters()).device.type
    precision = torch.autocast(device, torch.bfloat16) if config.precision == "bfloat16" else nullcontext()
    try:
        while True:
            if state.step > start and state.step % config.checkpoint_every == 0:
                save()
            is_row = has_row(state.step, config)
            if is_row:
                state.first_bad_step = first_bad_step(state)
                is_over = measure(state.step, mean_loss(state.losses)) or state.first_bad_step is not None
            if state.step == config.steps or (is_row and is_over):
                return
            poll()
            if is_row:
                state.losses.clear()  # not before: a run stopped here measures this step again
            set_rates(optimizer, state.step, config)
            x, y = batches.at(state.step)
            with precision:
                loss = loss_of(forward(x), y)
            optimizer.zero_grad()
            loss.backward()
            if config.clip_norm is not None:
                nn.utils.clip_grad_norm_(state.network.parameters(), config.clip_norm)
            optimizer.step()
            state.losses.append(loss.detach())
            state.step += 1
    except Interrupted:
        save()
        raise


def loss_of(output: Tensor | tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats, with the penalty that some networks return beside their logits."""
    if isinstance(output, tuple):
        logits, penalty = output
        return F.cross_entropy(logits.float(), y) + penalty
    return F.cross_entropy(output.float(), y)


def mean_loss(losses: list[Tensor]) -> float | None:
    return mean_over_ranks(torch.stack(losses)).double().mean().item() if losses else None


def first_bad_step(state: TrainState) -> int | None:
    """Return the first step since the last row whose loss was not finite; read only here, so steps never wait."""
    if not state.losses:
        return None
    is_bad = ~mean_over_ranks(torch.stack(state.losses)).isfinite()
    return state.step - len(state.losses) + int(is_bad.nonzero()[0]) if is_bad.any() else None


@torch.no_grad()
def evaluate(network: nn.Module, examples: Examples, poll: Callable[[], None], batch_size: int) -> Evaluation:
    """Evaluate at inference, and restore all modes.

    Each rank takes its part of every batch, so that all poll equally often.
    """
    device = next(network.parameters()).device
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    is_correct = torch.zeros(len(examples), dtype=torch.int32, device=device)
    with evaluating(network):
        for number, (x, y) in enumerate(examples.in_batches(batch_size, rank(), num_ranks())):
            poll()
            if len(y):
                logits = network(x)
                is_correct[number * batch_size :][:batch_size][rank() :: num_ranks()] = (logits.argmax(1) == y).int()
                loss_sum += F.cross_entropy(logits, y, reduction="sum")
    is_correct = sum_over_ranks(is_correct).bool().cpu().numpy()
    return Evaluation(int(is_correct.sum()) / len(examples), sum_over_ranks(loss_sum).item() / len(examples), is_correct)
