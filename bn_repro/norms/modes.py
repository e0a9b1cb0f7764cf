"""How a measurement can switch and run a network and leave every module as it was: modes, statistics, counters."""

import collections
import copy
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from bn_repro.norms.held import OF_MODULES, SIMPLE, modules_of

OF_TORCH = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # timm's have children
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)
MAPPINGS = (dict, collections.OrderedDict, collections.Counter, collections.defaultdict)
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

    That is buffers, attributes such as tensors, arrays, counters and generators, also in collections, and frozen parameters, in
    which some norms keep statistics and some networks averages of others. They are put back by name, so that a module may also give
    a name another tensor; attributes and modules that the pass makes are taken away. Of objects of a network's own classes, what
    they hold is not put back. Parameters that train, which some layers scale down to a largest norm or clip, have their values back.
    Modules in plain collections, such as a teacher's that should not be trained, count as the network's.

    Raises:
        ValueError: the network has parameters or buffers that its first pass is still to make.
    """
    lazy = [name for name, tensor in (*network.named_parameters(), *network.named_buffers()) if is_lazy(tensor)]
    if lazy:
        raise ValueError(f"'{lazy[0]}' of {type(network).__name__} is made by its first pass; pass a batch through it before")
    modules = modules_of(network)
    scripted = {module for module in modules if isinstance(module, torch.jit.ScriptModule)}  # which take no other tensors
    trained = {
        parameter for module in modules for parameter in module._parameters.values() if is_plain(parameter) and parameter.requires_grad
    }
    changed = [*(buffer for module in scripted for buffer in module.buffers(recurse=False)), *trained]
    values = [(tensor, tensor.data, tensor.detach().clone()) for tensor in changed]
    own = [(module, dict(vars(module)), [(held, dict(held)) for held in held_by(module)]) for module in modules if module not in scripted]
    copies: dict[int, object] = {}
    for _, _, registered in own:
        for held, before in registered:
            held.update({name: copy_within(value, copies) for name, value in before.items()})
    for module, attributes, _ in own:  # after these, which collections may hold too
        own_values = {name: value for name, value in attributes.items() if name not in OF_MODULES and type(value) not in SIMPLE}
        vars(module).update({name: copy_within(value, copies) for name, value in own_values.items()})
    try:
        yield
    finally:
        for module, attributes, registered in own:
            for name in vars(module).keys() - attributes.keys():
                del vars(module)[name]
            vars(module).update(attributes)
            for held, before in registered:
                held.clear()
                held.update(before)
        for tensor, data, value in values:
            if tensor.data_ptr() != data.data_ptr():  # a pass has given it other memory
                tensor.data = data
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


def is_plain(tensor: Tensor | None) -> bool:
    """Say whether a tensor has values in memory of its own, as sparse, distributed and quantized ones have not."""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and not tensor.is_meta  # type: ignore[union-attr]


def held_by(module: nn.Module) -> tuple[dict[str, Any], ...]:
    """Return what is registered with a module, by name: parameters, buffers, modules."""
    return module._parameters, module._buffers, module._modules


def copy_within(value: Any, copies: dict[int, Any]) -> Any:
    """Copy a tensor that no gradient runs through, an array or a generator, also within collections; return others as they are.

    Args:
        copies: those that were made, by the id of the original, so that one object has one copy everywhere.
    """
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, Tensor):
        made = value if value.requires_grad or is_lazy(value) else copy_of(value)
    elif isinstance(value, np.ndarray):
        made = value.copy()
    elif isinstance(value, GENERATORS) and not isinstance(value, random.SystemRandom):
        made = copy.deepcopy(value)
    elif isinstance(value, torch.Generator):
        made = value.clone_state()
    elif type(value) in MAPPINGS:
        made = copies[id(value)] = copy.copy(value)  # before what is in it, which may lead back here
        for key, each in value.items():
            made[key] = copy_within(each, copies)
    elif type(value) in (list, collections.deque):
        made = copies[id(value)] = copy.copy(value)
        for place, each in enumerate(value):
            made[place] = copy_within(each, copies)
    elif type(value) is tuple:
        made = tuple(copy_within(each, copies) for each in value)
    elif type(value) is set:
        made = value.copy()
    else:
        return value
    copies[id(value)] = made
    return made


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
        made = copy.deepcopy(network, {id(value): value.detach().clone() for value in attributes if not value.is_leaf})
    except Exception as error:
        raise ValueError(f"{type(network).__name__} cannot be copied ({first_line(error)})") from error
    own = set(network.modules())
    shared = next((type(module).__name__ for module in made.modules() if module in own), None)
    if shared:
        raise ValueError(f"{type(network).__name__} cannot be copied (its {shared} gives itself in place of a copy)")
    for module in made.modules():
        if "forward" in vars(module) and is_of_class(module, vars(module)["forward"]):  # left by a copy that a recorder watched
            del vars(module)["forward"]
    return made


def is_of_class(module: nn.Module, forward: object) -> bool:
    """Say whether a function is the forward pass that a module's class has."""
    return getattr(forward, "__self__", None) is module and getattr(forward, "__func__", None) is getattr(type(module), "forward", None)


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
    keeps = isinstance(getattr(module, "running_mean", None), Tensor)  # as networks do too that standardize their inputs
    has_statistics = isinstance(module, OF_TORCH) or (keeps and not any(map(is_norm, module.children())))
    return has_statistics or bool(is_called_so and not type(module).__module__.startswith("torch.nn.utils"))
