"""How batch norm costs nothing at inference: it folds into the affine layer before it (section 3.1)."""

import warnings
from collections import OrderedDict

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bn_repro.norms.foldable import NUM_DIMS, NUM_DIMS_OF_NORM, judge, nearest_of, product
from bn_repro.norms.modes import evaluating_copy
from bn_repro.norms.torchs_own import AFFINES, BATCH_NORMS, is_followed_by_activation
from bn_repro.norms.tracing import Passes, trace_passes


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose every Linear/Conv + batch norm is one affine layer.

    The outputs equal the evaluation-mode network's to rounding. Module names stay: the affine layer holds the product,
    `nn.Identity` stands where the norm was; of timm's norms the activation stays. Norms that cannot be folded are left as
    they are, and a warning says how many and why (`unfoldable_norms` has all). A folded Linear or Conv1d takes batches of
    (N, features) or (N, channels, length) alone, since the norm would take others along another dimension.

    Where anything was folded, a module that has a method `fuse_folded` then gives way to what that returns, whose
    names within may be others.

    Raises:
        ValueError: the network cannot be traced, see `foldable_pairs`; its forward pass asks what its norms are, and would do
            something else without them; or, of the result, an input of other dimensions.
    """
    folded = evaluating_copy(network)
    pairs, left, before = judge(folded)
    norms = {pair.norm for pair in pairs}
    for pair in pairs:
        fold(folded.get_submodule(pair.affine), folded.get_submodule(pair.norm))
        become(folded.get_submodule(pair.norm), what_remains(folded.get_submodule(pair.affine), folded.get_submodule(pair.norm)))
    if pairs:
        check_same_passes(network, before, folded, norms)
    if left:
        name, why = next(iter(left.items()))
        others = "" if len(left) == 1 else f", and {len(left) - 1} more (unfoldable_norms tells why)"
        warnings.warn(f"folded {len(pairs)} of {len(pairs) + len(left)} batch norms; left as it is: {name}, {why}{others}", stacklevel=2)
    return fuse_folded(folded) if pairs else folded


def check_same_passes(network: nn.Module, before: Passes, folded: nn.Module, norms: set[str]) -> None:
    """Refuse a network that calls other layers, or calls them otherwise, once its norms are gone: it asks what they are.

    Raises:
        ValueError: it does.
    """
    looks = f"cannot fold {type(network).__name__}: its forward pass looks at its norms or the layers before them"
    try:
        after = trace_passes(folded, norms)
    except ValueError as error:
        raise ValueError(f"{looks}, and fails once they are folded") from error
    if [lines_of(graph) for graph in before.graphs] != [lines_of(graph) for graph in after.graphs]:
        raise ValueError(f"{looks}, and calls others once they are folded")


def lines_of(graph: fx.Graph) -> list[str]:
    return [f"{node.op} {node.target} {node.name} {node.args} {node.kwargs}" for node in graph.nodes]


def fuse_folded(module: nn.Module) -> nn.Module:
    """Return the module with all that have a method `fuse_folded` replaced, itself included.

    timm's name `fuse` is not asked for: those of its models fold norms, and fail where that is done already.
    """
    for name, child in list(module.named_children()):
        setattr(module, name, fuse_folded(child))
    return module.fuse_folded() if hasattr(module, "fuse_folded") else module


def what_remains(affine: nn.Module, norm: _BatchNorm) -> nn.Module:
    """Return what stands where a folded norm was."""
    num_dims = NUM_DIMS[nearest_of(affine, AFFINES)]
    is_sure = NUM_DIMS_OF_NORM[nearest_of(norm, BATCH_NORMS)] == (num_dims,)
    remains = nn.Identity() if is_sure else IdentityOf(num_dims)
    if is_followed_by_activation(norm):
        children = dict(norm.named_children())
        remains = nn.Sequential(OrderedDict(children if is_sure else {"norm": remains, **children}))
    return remains.eval()


class IdentityOf(nn.Identity):
    """Return a batch of so many dimensions, and refuse others: the norm that stood here would have taken them along another one."""

    def __init__(self, num_dims: int):
        super().__init__()
        self.num_dims = num_dims

    def forward(self, x: Tensor) -> Tensor:
        return of_dims(x, self.num_dims)


@fx.wrap
def of_dims(x: Tensor, num_dims: int) -> Tensor:
    if x.dim() != num_dims:
        raise ValueError(
            f"a batch norm was folded for inputs of {num_dims} dimensions, not {tuple(x.shape)}, which it normalizes along another"
        )
    return x


def become(module: nn.Module, other: nn.Module) -> None:
    """Turn a module into another, for all who hold it, whatever they call it."""
    module.__class__ = type(other)
    vars(module).clear()
    vars(module).update(vars(other))


@torch.no_grad()
def fold(affine: nn.Module, norm: _BatchNorm) -> None:
    """Multiply the inference map of a batch norm into the weight and bias of the layer before it."""
    weight, bias = product(affine, norm)
    requires_grad = affine.weight.requires_grad
    affine.weight, affine.bias = nn.Parameter(weight, requires_grad), nn.Parameter(bias, requires_grad)
