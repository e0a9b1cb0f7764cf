"""Which batch norms are one affine map with the layer before them, and why the others are not."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.parameter import is_lazy

from bn_repro.norms.batch_norm import inference_affine
from bn_repro.norms.modes import evaluating_copy, refuse_scripted
from bn_repro.norms.torchs_own import AFFINES, BATCH_NORMS, known_class, what_differs
from bn_repro.norms.tracing import Passes, trace_passes

NUM_DIMS = dict(zip(AFFINES, (2, 3, 4, 5, 3, 4, 5)))  # of the output of an affine layer, batch and features counted
NUM_DIMS_OF_NORM = dict(zip(BATCH_NORMS, ((2, 3), (4,), (5,), (2, 3, 4, 5))))  # of the inputs that a norm takes


@dataclass(frozen=True)
class Pair:
    """An affine layer and the norm that alone reads its output, by their names."""

    affine: str
    norm: str


def foldable_pairs(network: nn.Module) -> list[tuple[str, str]]:
    """List the (affine, norm) module names that `fold_batch_norms` makes one, in the order of the network.

    The norm is then the affine layer's only reader, each is called once in a forward pass in evaluation mode, both compute
    what torch's layers of that kind compute, and nothing else reads their parameters and statistics.

    Raises:
        ValueError: the forward pass cannot be traced by `torch.fx`, or has more than five optional arguments, so what follows what is
            unknown.
    """
    pairs, _, _ = judge(evaluating_copy(network))
    return [(pair.affine, pair.norm) for pair in pairs]


def unfoldable_norms(network: nn.Module) -> dict[str, str]:
    """Return `{name: why}` of the batch norms that `fold_batch_norms` leaves as they are.

    Raises:
        ValueError: see `foldable_pairs`.
    """
    return judge(evaluating_copy(network))[1]


def judge(network: nn.Module) -> tuple[list[Pair], dict[str, str], Passes]:
    """Return which norms of a network in evaluation mode can be folded into what, why the others cannot, and the passes that say so."""
    refuse_scripted(network, "fold")
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    if not norms:
        return [], {}, Passes()
    passes = trace_passes(network)
    owners = Counter(id(t) for m in network.modules() for t in (*m._parameters.values(), *m._buffers.values()) if t is not None)
    pairs, left = [], {}
    for name, norm in norms.items():
        has_statistics = norm.running_mean is not None and norm.running_var is not None
        verdict = source_of(name, norm, network, passes) if has_statistics else "it keeps no statistics"
        if isinstance(verdict, Pair):
            affine = network.get_submodule(verdict.affine)
            why = what_forbids(affine, norm, passes, owners) or what_is_read(verdict, network, passes)
            verdict = why or verdict
        if isinstance(verdict, Pair):
            pairs.append(verdict)
        else:
            left[name] = verdict
    return pairs, left, passes


def source_of(name: str, norm: nn.Module, network: nn.Module, passes: Passes) -> Pair | str:
    """Return the pair of a norm and what it reads in all ways to call the network, or why there is none."""
    found: set[Pair | str] = set()
    for graph in passes.graphs:
        calls = [node for node in graph.find_nodes(op="call_module", target=name)]
        if not calls:
            continue
        source = (calls[0].args or tuple(calls[0].kwargs.values()))[0]
        if len(calls) > 1:
            found.add("it is called more than once in a forward pass")
        elif not (isinstance(source, fx.Node) and source.op == "call_module"):
            found.add("it does not read the output of a layer")
        elif known_class(network.get_submodule(source.target), AFFINES) is None:
            found.add(f"it reads the output of {source.target}, which is no linear layer or convolution")
        elif source in passes.kept:
            found.add(f"what it reads, the output of {source.target}, is kept for a later pass")
        elif len(source.users) > 1 or len(graph.find_nodes(op="call_module", target=source.target)) > 1:
            found.add(f"what it reads, the output of {source.target}, is used more than once")
        else:
            found.add(Pair(source.target, name))
    pair: Pair | str = next(iter(found), "no forward pass in evaluation mode calls it")
    for graph in passes.graphs if isinstance(pair, Pair) else ():
        assert isinstance(pair, Pair)
        if len({len(graph.find_nodes(op="call_module", target=target)) for target in (pair.affine, pair.norm)}) > 1:
            return f"it does not follow {pair.affine} in every way to call the network"
    if len(found) > 1:
        return next((why for why in found if isinstance(why, str)), "it follows several layers")
    if id(norm) in passes.unseen:
        return f"torch.fx cannot see what {passes.unseen[id(norm)]} does with it"
    return pair


def what_forbids(affine: nn.Module, norm: _BatchNorm, passes: Passes, owners: Counter[int]) -> str | None:
    """Say why a norm cannot be folded into the layer whose output it alone reads; None: it can."""
    for module, known in ((norm, BATCH_NORMS), (affine, AFFINES)):
        held = [tensor for tensor in (*module._parameters.values(), *module._buffers.values()) if tensor is not None]
        why = what_differs(module, known)
        whose = "" if module is norm else f"of its layer {type(affine).__name__}: "
        if why:
            return whose + why
        if module.training:
            return f"{type(module).__name__} stays in training mode"
        if any(is_lazy(tensor) or tensor.is_meta for tensor in held):
            return f"{whose}its tensors have no values yet"
        if any(owners[id(tensor)] > 1 for tensor in held):
            return f"{whose}it shares a parameter or statistic with another module"
        if any(id(each) in passes.unseen for each in (module, *held)):
            return f"{whose}torch.fx cannot see who else uses it"
    base, base_of_norm = nearest_of(affine, AFFINES), nearest_of(norm, BATCH_NORMS)
    if NUM_DIMS[base] not in NUM_DIMS_OF_NORM[base_of_norm] or num_outputs(affine) != len(norm.running_mean):
        return f"its {len(norm.running_mean)} features are not the outputs of {type(affine).__name__}"
    if not all(tensor.isfinite().all() for tensor in product(affine, norm)):
        return f"the product of the two is not finite in {affine.weight.dtype}"
    return None


def what_is_read(pair: Pair, network: nn.Module, passes: Passes) -> str | None:
    for module in (pair.affine, pair.norm):
        own = network.get_submodule(module)
        for name in (*own._parameters, *own._buffers):
            if f"{module}.{name}" in passes.read:
                return f"{module}.{name} is read by others too"
    return None


def nearest_of(module: nn.Module, known: tuple[type, ...]) -> type:
    return next(cls for cls in type(module).__mro__ if cls in known)


def num_outputs(affine: nn.Module) -> int:
    return affine.weight.shape[1] * affine.groups if isinstance(affine, _ConvTransposeNd) else len(affine.weight)


@torch.no_grad()
def product(affine: nn.Module, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of the map that an affine layer and the batch norm after it are at inference."""
    scale, shift = inference_affine(norm)
    weight = affine.weight
    if isinstance(affine, _ConvTransposeNd):  # (in, out / groups, ...), the groups along the inputs
        by_group = weight.unflatten(0, (affine.groups, -1)).transpose(1, 2)  # (groups, out / groups, in / groups, ...)
        by_group = by_group * scale.view(affine.groups, -1, *[1] * (by_group.dim() - 2))
        folded_weight = by_group.transpose(1, 2).flatten(0, 1)
    else:
        folded_weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    folded_bias = shift if affine.bias is None else scale * affine.bias + shift
    return folded_weight.to(weight), folded_bias.to(weight)
