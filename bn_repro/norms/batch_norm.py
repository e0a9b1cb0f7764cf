"""What a batch-normalized layer computes in training (Algorithm 1) and at inference (Algorithm 2).

The layers are torch's own, kernel for kernel and key for key: `weight` is the paper's gamma, `bias` its beta,
`running_mean` and `running_var` its E[x] and Var[x]. What the paper has and torch lacks is added here.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Self

import torch
from torch import Tensor, nn
from torch.ao.quantization.fuser_method_mappings import _DEFAULT_OP_LIST_TO_FUSER_METHOD
from torch.nn.modules.batchnorm import _BatchNorm

from bn_repro.norms.modes import evaluating, is_norm
from bn_repro.norms.virtual_batch_norm import REFERENCE, taking_reference


class TracedWhole:
    """Let torch.fx take a module for one operation, as it takes torch's own: it asks in what package the instance says it is."""

    def __new__(cls, *_: object, **__: object) -> Self:
        module = super().__new__(cls)
        vars(module)["__module__"] = nn.BatchNorm1d.__module__
        return module


class _PaperNames(TracedWhole):
    """Give torch's batch norm the paper's names, and Algorithm 2's closing line as a method."""

    @property
    def gamma(self) -> Tensor | None:
        return self.weight  # type: ignore[attr-defined]

    @property
    def beta(self) -> Tensor | None:
        return self.bias  # type: ignore[attr-defined]

    def inference_affine(self) -> tuple[Tensor, Tensor]:
        """Return (scale, shift), see the function of that name."""
        return inference_affine(self)


def inference_affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return (scale, shift), each (C,), of the map that a batch norm is at inference (Algorithm 2, line 11).

    scale = gamma / sqrt(Var[x] + eps) and shift = beta - scale * E[x].

    Raises:
        ValueError: the layer keeps no statistics (`track_running_stats=False`).
    """
    if norm.running_mean is None:
        raise ValueError("inference_affine needs population statistics; this layer has track_running_stats=False")
    exact = torch.promote_types(norm.running_var.dtype, torch.float32)  # half precision is too coarse for a variance
    scale = torch.rsqrt(norm.running_var.to(exact) + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -scale * norm.running_mean
    return scale, shift if norm.bias is None else shift + norm.bias


class BatchNorm1d(_PaperNames, nn.BatchNorm1d):
    """Normalize each feature of (N, C) or (N, C, L) over the batch, then scale and shift it (Algorithm 1).

    A drop-in for `torch.nn.BatchNorm1d`: same arguments, attributes, state_dict and errors.
    Beware: torch's `momentum` is the weight of the newest batch, one minus the decay of the moving average.
    """


class BatchNorm2d(_PaperNames, nn.BatchNorm2d):
    """Normalize each feature map of (N, C, H, W) over batch and locations (section 3.2); else as `BatchNorm1d`."""


class BatchNorm3d(_PaperNames, nn.BatchNorm3d):
    """Normalize each feature map of (N, C, D, H, W) over batch and locations (section 3.2); else as `BatchNorm1d`."""


def let_torch_fuse() -> None:
    """Tell `torch.ao.quantization.fuse_modules`, which asks for exact types, that these fuse as torch's do."""
    ours = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d}
    for types, method in list(_DEFAULT_OP_LIST_TO_FUSER_METHOD.items()):
        if len(types) > 1 and types[1] in ours:
            _DEFAULT_OP_LIST_TO_FUSER_METHOD.setdefault((types[0], ours[types[1]], *types[2:]), method)


let_torch_fuse()


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """List the batch norms of a network, torch's included, that keep population statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


@contextmanager
def normalizing_by_batch(network: nn.Module) -> Iterator[None]:
    """Let every norm use the statistics of its batch, all else (dropout) as at inference; restore modes after.

    Virtual batch norms use those of the reference batch that the network, or a part of it, keeps; where none does, as in a layer by
    itself, the batch is it.
    """
    has_reference = any(hasattr(module, REFERENCE) for module in network.modules())
    with evaluating(network), nullcontext() if has_reference else taking_reference(network):
        norms = {module for module in network.modules() if is_norm(module)}
        for norm in norms:
            norm.train()
        for norm in norms:
            for part in norm.modules():  # timm's norms have a dropout inside
                part.training = part.training and part in norms
        yield
