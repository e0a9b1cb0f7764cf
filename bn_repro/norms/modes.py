"""How a measurement can switch and run a network and leave every module as it was: modes, statistics, counters."""

import collections
import copy
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map

OF_TORCH = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # timm's have children
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
COLLECTIONS = (list, dict, set, collections.OrderedDict, collections.Counter, collections.defaultdict, collections.deque)
OF_MODULES = frozenset(vars(nn.Module()))  # attributes that all modules have: parameters, hooks
NORM = r"norm(?!al(?!i[sz]))"  # in the name of a class: BatchNormalization, and not NormalNoise


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put all modules in evaluation mode, and give each its own mode back after."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        put_in_evaluation(network)
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def put_in_evaluation(network: nn.Module) -> None:
    """Put all modules in evaluation mode without a call of their own `eval`, in which some, such as loralib's, change weights."""
    for module in network.modules():
        module.training = False


@contextmanager
def keeping_state(network: nn.Module) -> Iterator[None]:
    """Run the network on copies of all that a forward pass may change but parameters that train, and put its own back after.

    That is buffers, attributes such as tensors, counters and generators, and frozen parameters, in which some norms keep statistics
    and some networks averages of others. They are put back by name, so that a module may also give a name another tensor.
    Weights of embeddings that a pass scales down to their largest norm have their values back.

    Raises:
        ValueError: the network has parameters or buffers that its first pass is still to make.
    """
    lazy = [name for name, tensor in (*network.named_parameters(), *network.named_buffers()) if is_lazy(tensor)]
    if lazy:
        raise ValueError(f"'{lazy[0]}' of {type(network).__name__} is made by its first pass; pass a batch through it before")
    scripted = [module for module in network.modules() if isinstance(module, torch.jit.ScriptModule)]  # which take no other tensors
    scaled = [module.weight for module in network.modules() if isinstance(module, EMBEDDINGS) and module.max_norm is not None]
    changed = [*(buffer for module in scripted for buffer in module.buffers(recurse=False)), *scaled]
    values = [(tensor, tensor.detach().clone()) for tensor in changed]
    modules = (module for module in network.modules() if module not in scripted)
    own = [(module, dict(vars(module)), dict(module._buffers), dict(module._parameters)) for module in modules]
    copies: dict[int, object] = {}
    for module, _, buffers, parameters in own:
        module._buffers.update(copies_of(buffers, copies))
        module._parameters.update(copies_of(parameters, copies))
    for module, attributes, _, _ in own:  # after these, which collections may hold too
        vars(module).update(copies_of({name: value for name, value in attributes.items() if name not in OF_MODULES}, copies))
    try:
        yield
    finally:
        for module, attributes, buffers, parameters in own:
            for name in [name for name, value in vars(module).items() if isinstance(value, Tensor) and name not in attributes]:
                del vars(module)[name]
            vars(module).update(attributes)
            for held, before in ((module._buffers, buffers), (module._parameters, parameters)):
                held.clear()
                held.update(before)
        for tensor, value in values:
            tensor.data.copy_(value)  # unseen by a gradient that is still to be computed


@contextmanager
def keeping_random_numbers(*of: object) -> Iterator[None]:
    """Put the global generators of Python, NumPy, torch's CPU and the CUDA devices of some tensors back after."""
    devices = {tensor.device for tensor in of if isinstance(tensor, Tensor) and tensor.is_cuda}
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def copies_of(values: dict[str, object], copies: dict[int, object]) -> dict[str, object]:
    """Copy collections, generators, and tensors that no gradient runs through, among some values; one object has one copy everywhere."""
    for value in values.values():
        if type(value) in COLLECTIONS and id(value) not in copies:
            copies[id(value)] = copy.copy(tree_map(lambda leaf: copies.get(id(leaf), leaf), value))
        if isinstance(value, GENERATORS) and not isinstance(value, random.SystemRandom) and id(value) not in copies:
            copies[id(value)] = copy.deepcopy(value)
        if isinstance(value, torch.Generator) and id(value) not in copies:
            copies[id(value)] = value.clone_state()
        if isinstance(value, Tensor) and not value.requires_grad and not is_lazy(value) and id(value) not in copies:
            copies[id(value)] = copy_of(value)
    return {name: copies[id(value)] for name, value in values.items() if id(value) in copies}


def copy_of(tensor: Tensor) -> Tensor:
    """Copy a tensor; a parameter with its class and attributes, by which quantized layers know their weights."""
    if not isinstance(tensor, nn.Parameter):
        return tensor.detach().clone()
    parameter = nn.Parameter(tensor.detach().clone(), tensor.requires_grad)
    parameter.__class__ = type(tensor)
    vars(parameter).update(vars(tensor))
    return parameter


def copied(network: nn.Module) -> nn.Module:
    """Return a deep copy, also where weight_norm, spectral_norm or pruning have left a computed weight, which torch refuses.

    Raises:
        ValueError: it cannot be copied.
    """
    attributes = [value for module in network.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    try:
        return copy.deepcopy(network, {id(value): value.detach().clone() for value in attributes if not value.is_leaf})
    except Exception as error:
        raise ValueError(f"{type(network).__name__} cannot be copied ({first_line(error)})") from error


def evaluating_copy(network: nn.Module) -> nn.Module:
    """Return a deep copy in evaluation mode; see `copied`."""
    network = copied(network)
    network.eval()  # some networks' own returns nothing
    return network


def refuse_scripted(network: nn.Module, what: str) -> None:
    """Refuse a network with scripted parts, whose norms no one can tell from other modules.

    Raises:
        ValueError: it has some.
    """
    scripted = [name for name, module in network.named_modules() if isinstance(module, torch.jit.ScriptModule)]
    if scripted:
        where = f"its module '{scripted[0]}'" if scripted[0] else "it"
        raise ValueError(f"cannot {what} {type(network).__name__}: {where} is scripted; do so before torch.jit.script")


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def is_norm(module: nn.Module) -> bool:
    """Say whether a module is a norm, by its statistics or its class's name: there is no base class for those of torch, timm and others."""
    is_called_so = re.search(NORM, type(module).__name__.lower()) and not any(module.children())
    has_statistics = isinstance(module, OF_TORCH) or isinstance(getattr(module, "running_mean", None), Tensor)
    return has_statistics or bool(is_called_so and not type(module).__module__.startswith("torch.nn.utils"))
