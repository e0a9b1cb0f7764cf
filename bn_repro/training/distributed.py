"""How several processes train one network: each on its part of a step's batch, gradients averaged, rank 0 deciding for all.

As in the paper, each replica's batch norms see their own part alone, unless `train.sync_bn`. A function that speaks of all
ranks must be called by all of them. In a process without others there is one rank, and nothing here changes anything.
"""

import atexit
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")
OWN = ("losses", "rng", "device_rng")  # what each rank has for itself in a state, beside its moving averages


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def num_ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def join_ranks(device: str) -> None:
    """Meet the other processes that torchrun started, if there are any, and take a GPU of the machine for this one.

    Runs that follow each other in a process share one meeting.

    Raises:
        ValueError: there are not enough GPUs, or `device` names one for all.
    """
    is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
    local_rank = 0 if is_alone else int(os.environ["LOCAL_RANK"])
    if device.startswith("cuda") and torch.cuda.device_count() <= local_rank:
        raise ValueError(f"device={device}: {local_rank + 1} GPUs are needed on this machine, and torch finds {torch.cuda.device_count()}")
    if is_alone or dist.is_initialized():
        return
    if device.startswith("cuda:"):
        raise ValueError(f"device={device} is one GPU; several ranks need device=cuda, and each takes its own")
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    # What is on the CPU goes by gloo even then, so that asking whether to stop never waits for a GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
    atexit.register(dist.destroy_process_group)


def from_first_rank(decide: Callable[[], T]) -> T:
    """Return what `decide` returns on rank 0, or raise what it raises there, on all ranks; the others do not call it."""
    if num_ranks() == 1:
        return decide()
    answer: list[Any] = [None, None]
    if rank() == 0:
        try:
            answer[0] = decide()
        except Exception as error:
            answer[1] = error
    dist.broadcast_object_list(answer, device=torch.device("cpu"))
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def sum_over_ranks(tensor: Tensor) -> Tensor:
    if num_ranks() > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def mean_over_ranks(tensor: Tensor) -> Tensor:
    return sum_over_ranks(tensor) / num_ranks() if num_ranks() > 1 else tensor


def means_over_ranks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return each tensor's mean over ranks; all travel as one, since a call costs more than the numbers of a norm."""
    means = mean_over_ranks(torch.cat([tensor.flatten() for tensor in tensors])).split([tensor.numel() for tensor in tensors])
    return [mean.reshape(tensor.shape).to(tensor.dtype) for mean, tensor in zip(means, tensors)]


def is_on_any_rank(condition: bool) -> bool:
    return condition if num_ranks() == 1 else sum_over_ranks(torch.tensor(float(condition))).item() > 0


def part_of_batch(batch_size: int) -> int:
    """Return how many of a step's examples one rank takes.

    Raises:
        ValueError: the ranks' parts would differ in size.
    """
    if batch_size % num_ranks():
        raise ValueError(f"train.batch_size={batch_size} is of all ranks together and cannot be split evenly over {num_ranks()}")
    return batch_size // num_ranks()


def synchronized(network: nn.Module) -> nn.Module:
    """Let every batch norm take the statistics of all ranks' examples; same parameters, same names."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(network) if num_ranks() > 1 else network


def averaging_gradients(network: nn.Module) -> nn.Module:
    """Return what computes logits as `network` does, and in whose backward pass gradients become their mean over ranks."""
    if num_ranks() == 1:
        return network
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch 2.11 does not know the argument's new name
        # Buffers are not broadcast: rank 0's moving averages would replace those of the others' examples. Without the search
        # for unused parameters, of which there are none, DDP regroups gradients after its first backward pass; sums of
        # more than two ranks then round otherwise, and a resumed run would not end as one that was never stopped.
        return DistributedDataParallel(network, broadcast_buffers=False, find_unused_parameters=True)


def moving_averages(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """List the means and the variances of all norms that keep them."""
    norms = [module for module in network.modules() if getattr(module, "running_mean", None) is not None]
    return [norm.running_mean for norm in norms], [norm.running_var for norm in norms]


def fill(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


@contextmanager
def pooled_statistics(network: nn.Module) -> Iterator[None]:
    """Give every norm the moments of all ranks' examples together, and put each rank's own back after, so that training is as it was.

    The ranks' parts being equal, E = mean of E_r and Var = mean of Var_r + mean of (E_r - E)^2.
    """
    means, variances = moving_averages(network)
    if num_ranks() == 1 or not means:
        yield
        return
    own = [tensor.clone() for tensor in (*means, *variances)]
    try:
        pooled = means_over_ranks(means)
        fill(variances, means_over_ranks([var + (mean - center) ** 2 for var, mean, center in zip(variances, means, pooled)]))
        fill(means, pooled)
        yield
    finally:
        fill((*means, *variances), own)


def average_population_statistics(network: nn.Module) -> None:
    """Make of each rank's Algorithm 2 that over the batches of all ranks: a mean of mu_B and a mean of m/(m-1) var_B."""
    means, variances = moving_averages(network)
    if num_ranks() > 1 and means:
        fill((*means, *variances), means_over_ranks((*means, *variances)))


def gathered(state: dict[str, Any], network: nn.Module) -> dict[str, Any]:
    """Add to a plain state what all ranks have for themselves, so that a checkpoint of it can go on with every one."""
    if num_ranks() == 1:
        return state
    buffers = {name: buffer.cpu() for name, buffer in network.named_buffers()}
    own = {name: state[name] if state[name] is None else state[name].cpu() for name in OWN}
    of_ranks: list[Any] = [None] * num_ranks()
    dist.all_gather_object(of_ranks, own | {"buffers": buffers})
    return state | {"ranks": of_ranks}


def own_part(state: dict[str, Any]) -> dict[str, Any]:
    """Undo `gathered` for this rank.

    Raises:
        ValueError: another number of ranks made it; their batch norms saw other parts of a batch.
    """
    of_ranks = state["ranks"] if "ranks" in state else [{"buffers": {}}]
    if len(of_ranks) != num_ranks():
        raise ValueError(f"the run was begun with {len(of_ranks)} ranks and cannot go on with {num_ranks()}")
    own = of_ranks[rank()]
    return state | own | {"network": state["network"] | own["buffers"]}
