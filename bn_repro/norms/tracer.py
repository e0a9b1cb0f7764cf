"""What stands for a tensor while torch.fx traces a forward pass, and what is noted of how the pass uses it."""

import builtins
import inspect
import sys
import types
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

# What tells of a tensor without its values: torch asks this of a property's getter, torch.fx of a node.
ABOUT_TENSORS = ("dtype", "device", "shape", "ndim", "layout", "is_cuda", "requires_grad", "size", "dim", "numel", "is_floating_point")
ABOUT_GETTERS = {getattr(Tensor, name).__get__ for name in ABOUT_TENSORS if inspect.isgetsetdescriptor(getattr(Tensor, name))}
ABOUT_FUNCTIONS = {getattr(Tensor, name) for name in ABOUT_TENSORS if callable(getattr(Tensor, name))}
NOT_ASKING = {*sys.stdlib_module_names, "torch", "functorch"}  # packages whose code is told what a traced value really is


class SeeingTracer(fx.Tracer):
    """Trace down to modules of torch, to those without children or with hooks, whoever wrote them, to batch norms, and to some others."""

    def __init__(self, untraceable: set[type], whole: Collection[str]):
        super().__init__(param_shapes_constant=True)
        self.untraceable, self.whole = untraceable, whole
        self.failed: type | None = None  # the class of the innermost module whose forward pass cannot be traced
        self.asked: list[TracedAttribute] = []  # attributes that no tensor has

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Traced(node, self)

    def only_asked_for(self) -> str | None:
        """Name an attribute that no tensor has and that was asked for, as by hasattr, and not used."""
        return next((attribute.attr for attribute in self.asked if attribute._node is None and not attribute.is_called), None)

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        is_chosen = type(module) in self.untraceable or qualified_name in self.whole or has_hooks(module)
        is_whole = isinstance(module, _BatchNorm) or is_chosen or not any(module.children())
        return is_whole or super().is_leaf_module(module, qualified_name)

    def call_module(self, module: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return super().call_module(module, forward, args, kwargs)
        except Exception:
            is_found = module in (self.submodule_paths or {})  # else its caller is at fault
            if self.failed is None and is_found and not self.is_leaf_module(module, ""):
                self.failed = type(module)
            raise


def has_hooks(module: nn.Module) -> bool:
    """Say whether a module with others inside has hooks, which would be given what is traced in place of tensors."""
    return bool(module._forward_hooks or module._forward_pre_hooks) and any(module.children())


class Traced(fx.Proxy):
    """What is traced; it notes which attributes are asked for that no tensor has."""

    def __getattr__(self, name: str) -> fx.proxy.Attribute:
        attribute = TracedAttribute(self, name)
        if not hasattr(Tensor, name):
            self.tracer.asked.append(attribute)
        return attribute


class TracedAttribute(fx.proxy.Attribute, Traced):
    """An attribute or a method of what is traced."""

    is_called = False

    def __call__(self, *args: Any, **kwargs: Any) -> fx.Proxy:
        self.is_called = True
        return super().__call__(*args, **kwargs)


@contextmanager
def answering_isinstance() -> Iterator[None]:
    """Let all code but torch's, where it asks, find that what is traced is a Tensor, as what is really passed is."""
    foreign = {
        id(module): vars(module)  # some stand under two names
        for name, module in list(sys.modules.items())
        if isinstance(module, types.ModuleType) and name.split(".")[0] not in NOT_ASKING
    }
    answers = {"isinstance": is_instance_of, "is_tensor": is_tensor}
    asking = [(names, "isinstance") for names in foreign.values() if "isinstance" not in names]
    asking += [(names, "is_tensor") for names in (*foreign.values(), vars(torch)) if names.get("is_tensor") is torch.is_tensor]
    before = [names.get(asked) for names, asked in asking]
    for names, asked in asking:
        names[asked] = answers[asked]
    try:
        yield
    finally:
        for (names, asked), own in zip(asking, before):
            if own is None:
                del names[asked]
            else:
                names[asked] = own


def is_instance_of(value: object, classes: Any) -> bool:
    return builtins.isinstance(value, classes) or (builtins.isinstance(value, fx.Proxy) and issubclass(Tensor, classes))


def is_tensor(value: object) -> bool:
    return is_instance_of(value, Tensor)


class NotingReads(TorchFunctionMode):
    """Note which of a network's parameters and buffers are given to functions while it is traced."""

    def __init__(self, network: nn.Module, read: set[str]):
        super().__init__()
        self.names = {id(tensor): name for name, tensor in (*network.named_parameters(), *network.named_buffers())}
        self.read = read

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func not in ABOUT_GETTERS and func not in ABOUT_FUNCTIONS:
            self.read |= {self.names[id(leaf)] for leaf in tree_leaves((args, kwargs)) if id(leaf) in self.names}
        return func(*args, **kwargs or {})
