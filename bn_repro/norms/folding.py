"""How batch norm costs nothing at inference: it folds into the affine layer before it (section 3.1)."""

import copy

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from bn_repro.norms.batch_norm import inference_affine

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class ModuleTracer(fx.Tracer):
    """Trace down to modules without children, whoever wrote them."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return super().is_leaf_module(module, qualified_name) or not any(module.children())


def foldable_pairs(network: nn.Module) -> list[tuple[str, str]]:
    """List (affine, norm) module names where the norm is the affine layer's only reader and each is called once.

    A Linear is taken to read (N, features), not the last of more dimensions.

    Raises:
        ValueError: the forward pass cannot be traced by `torch.fx`, so what follows what is unknown.
    """
    try:
        graph = ModuleTracer().trace(network)
    except Exception as error:
        raise ValueError(f"cannot fold {type(network).__name__}: torch.fx cannot trace it ({error})") from error
    modules = dict(network.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    num_calls = {node.target: sum(other.target == node.target for other in calls) for node in calls}
    pairs = []
    for node in calls:
        source = node.args[0] if node.args else None
        if not isinstance(modules[node.target], _BatchNorm) or modules[node.target].running_mean is None:
            continue
        if source not in calls or not isinstance(modules[source.target], (nn.Linear, *CONVOLUTIONS)):
            continue
        if modules[node.target].num_features != num_outputs(modules[source.target]):
            continue  # a Linear over the last of several dimensions; the norm's features are the second
        if len(source.users) == 1 and num_calls[node.target] == num_calls[source.target] == 1:
            pairs.append((source.target, node.target))
    return pairs


def num_outputs(affine: nn.Module) -> int:
    return affine.out_features if isinstance(affine, nn.Linear) else affine.out_channels


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose every Linear/Conv + batch norm is one affine layer.

    The outputs equal the evaluation-mode network's to rounding. Module names stay: the affine layer holds the
    product, `nn.Identity` stands where the norm was. Norms that follow no affine layer are left as they are.

    Where anything was folded, a module that has a method `fuse_folded` then gives way to what that returns, whose
    names within may be others.

    Raises:
        ValueError: the network cannot be traced, see `foldable_pairs`.
    """
    folded = copy.deepcopy(network).eval()
    pairs = foldable_pairs(folded)
    for affine_name, norm_name in pairs:
        fold(folded.get_submodule(affine_name), folded.get_submodule(norm_name))
        folded.set_submodule(norm_name, nn.Identity())
    return fuse_folded(folded) if pairs else folded


def fuse_folded(module: nn.Module) -> nn.Module:
    """Return the module with all that have a method `fuse_folded` replaced, itself included.

    timm's name `fuse` is not asked for: those of its models fold norms, and fail where that is done already.
    """
    for name, child in list(module.named_children()):
        setattr(module, name, fuse_folded(child))
    return module.fuse_folded() if hasattr(module, "fuse_folded") else module


@torch.no_grad()
def fold(affine: nn.Module, norm: _BatchNorm) -> None:
    """Multiply the inference map of a batch norm into the weight and bias of the layer before it."""
    scale, shift = inference_affine(norm)
    weight = affine.weight
    if isinstance(affine, _ConvTransposeNd):  # (in, out / groups, ...), the groups along the inputs
        by_group = weight.unflatten(0, (affine.groups, -1)).transpose(1, 2)  # (groups, out / groups, in / groups, ...)
        by_group = by_group * scale.view(affine.groups, -1, *[1] * (by_group.dim() - 2))
        folded_weight = by_group.transpose(1, 2).flatten(0, 1)
    else:
        folded_weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    folded_bias = shift if affine.bias is None else scale * affine.bias + shift
    affine.weight = nn.Parameter(folded_weight.to(weight), weight.requires_grad)
    affine.bias = nn.Parameter(folded_bias.to(weight), weight.requires_grad)
