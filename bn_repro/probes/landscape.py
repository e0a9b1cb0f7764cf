"""How smooth the loss is along the gradient: its range, the gradient's change, effective beta-smoothness (Santurkar et al. 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bn_repro.probes.undisturbed import LossFunction, loss_and_gradients, trainable_parameters, zero_if_none

MULTIPLES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # of the learning rate; the published range is [1/2, 4]


@torch.inference_mode(False)
def landscape_along_gradient(
    network: nn.Module, loss_fn: LossFunction, x: object, y: object, lr: float, multiples: Sequence[float] = MULTIPLES
) -> dict[str, float]:
    """Return named numbers of the loss on the batch (x, y) at theta - step * g, g its gradient at theta in all that trains.

    `loss` and `gradient_norm` are at theta. Over the steps: `loss_min`, `loss_max`; `gradient_change_min` and
    `gradient_change_max` of ||g(theta) - g(theta - step * g)||_2, the gradient predictiveness; `beta_smoothness`, the
    largest ratio of that change to the distance step * ||g||.

    It costs a forward and a backward pass, and another of each for every step. Training is the same, bit for bit, with
    and without it.

    Args:
        network: the bare module, not a wrapper that compiles or distributes it, in the mode it trains in.
        lr: the learning rate of this step of training.
        multiples: the steps, in units of `lr`.
        x: a tensor, or a tuple or dict of the network's arguments.

    Raises:
        ValueError: there are no steps or one is not positive, no parameter trains, one is of half precision, or the loss is not one number.
    """
    if not multiples or lr <= 0 or min(multiples) <= 0:
        raise ValueError(f"lr={lr} and multiples={tuple(multiples)} must be positive numbers, at least one step along the gradient")
    theta = trainable_parameters(network)
    halves = [name for name, p in theta.items() if p.itemsize < 4]
    if halves:
        raise ValueError(f"parameter '{halves[0]}' is of {theta[halves[0]].dtype}, in which a step may round away; measure a float32 copy")
    loss, gradients = dense_gradients(network, theta, loss_fn, x, y)
    norm = l2_norm(gradients)
    losses, changes, ratios = [], [], []
    for multiple in multiples:
        step = multiple * lr
        moved = {name: (p.detach() - step * g).requires_grad_() for (name, p), g in zip(theta.items(), gradients)}
        loss_there, gradients_there = dense_gradients(network, moved, loss_fn, x, y)
        change = l2_norm([there - here for there, here in zip(gradients_there, gradients)])
        losses.append(loss_there)
        changes.append(change)
        ratios.append(change / (step * norm))
    values = {
        "loss": loss,
        "gradient_norm": norm,
        "loss_min": torch.stack(losses).min(),
        "loss_max": torch.stack(losses).max(),
        "gradient_change_min": torch.stack(changes).min(),
        "gradient_change_max": torch.stack(changes).max(),
        "beta_smoothness": torch.stack(ratios).max(),
    }
    return {name: value.item() for name, value in values.items()}


def dense_gradients(
    network: nn.Module, parameters: dict[str, Tensor], loss_fn: LossFunction, x: object, y: object
) -> tuple[Tensor, list[Tensor]]:
    values = list(parameters.values())
    loss, gradients = loss_and_gradients(network, parameters, loss_fn, x, y, values)
    return loss, zero_if_none(gradients, values)


def l2_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of all tensors as one vector."""
    return torch.stack([torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors]).norm()
