"""What the forward pass of any network calls and reads in evaluation mode, as torch.fx tells it, and what it cannot see into."""

import builtins
import functools
import inspect
import itertools
import sys
import types
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from bn_repro.norms.modes import evaluating_copy, first_line, keeping_random_numbers

# What tells of a tensor without its values: torch asks this of a property's getter, torch.fx of a node.
ABOUT_TENSORS = ("dtype", "device", "shape", "ndim", "layout", "is_cuda", "requires_grad", "size", "dim", "numel", "is_floating_point")
ABOUT_GETTERS = {getattr(Tensor, name).__get__ for name in ABOUT_TENSORS if inspect.isgetsetdescriptor(getattr(Tensor, name))}
ABOUT_FUNCTIONS = {getattr(Tensor, name) for name in ABOUT_TENSORS if callable(getattr(Tensor, name))}

NOT_ASKING = {*sys.stdlib_module_names, "torch", "functorch"}  # packages whose code asks no traced value for its class
MOST_OPTIONAL = 5  # arguments, of which all 32 settings are traced


@dataclass
class Passes:
    """The forward passes of a network: one graph of each way to call it with gradients, and one of the usual way without.

    Args:
        read: names of parameters and buffers whose values are read other than by the call of their module.
        unseen: what modules that torch.fx cannot see into may call and read: by the id of the module or tensor, their class.
        kept: what is left in attributes of the network's modules for a later pass.
    """

    graphs: list[fx.Graph] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    unseen: dict[int, str] = field(default_factory=dict)
    kept: set[fx.Node] = field(default_factory=set)


def trace_passes(network: nn.Module, whole: Collection[str] = ()) -> Passes:
    """Trace a network in evaluation mode with its optional arguments left out and given, and its switches off and on, in all ways.

    A module whose forward pass depends on values is taken as a whole, and so is one with hooks. What is traced are copies, since
    some networks keep what passes through them.

    Args:
        whole: names of further modules that are not looked into.

    Raises:
        ValueError: its own forward pass depends on values, or is none of its class.
    """
    if "forward" in vars(network):
        raise ValueError(f"cannot fold {type(network).__name__}: something stands in the place of its forward")
    takes = inspect.signature(type(network).forward).parameters.values()
    optional = {p.name: p.default for p in takes if p.default is not p.empty}
    required = [p.name for p in takes if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)][1:]  # without self
    passes = Passes()
    untraceable: set[type] = set()
    if len(optional) > MOST_OPTIONAL:
        name = type(network).__name__
        raise ValueError(f"cannot fold {name}: its forward pass has {len(optional)} optional arguments, too many to try all ways")
    ways = {}
    for is_other in itertools.product((False, True), repeat=len(optional)):
        others = set(itertools.compress(optional, is_other))
        flipped = {name: not value for name, value in optional.items() if name in others and isinstance(value, bool)}
        ways[", ".join(sorted(others))] = {name: value for name, value in optional.items() if name not in others} | flipped
    with torch.inference_mode(False), torch.enable_grad():
        for arguments, concrete in ways.items():
            trace_one(network, concrete, passes, untraceable, whole, arguments)
    with torch.no_grad():
        trace_one(network, optional, passes, untraceable, whole)
        for name in required[1:]:  # None may be given in the place of these too; what fails then, fails folded as well
            with suppress(ValueError):
                trace_one(network, optional | {name: None}, passes, set(untraceable), whole)
    for name, module in network.named_modules():
        is_hooked = has_hooks(module) and module is not network  # whose own hooks no tracer calls
        is_whole = type(module) in untraceable or is_hooked or name in whole
        if is_hooked or (is_own_code(module) and (is_whole or not any(module.children()))):
            inside = set(module.modules()) if is_whole else set()
            for held in inside | set(held_elsewhere(module)):
                passes.unseen[id(held)] = type(module).__name__
    return passes


def trace_one(
    network: nn.Module, concrete: dict[str, Any], passes: Passes, untraceable: set[type], whole: Collection[str], argument: str = ""
) -> None:
    while True:
        subject, tracer = evaluating_copy(network), SeeingTracer(untraceable, whole)
        try:
            with keeping_random_numbers(*network.parameters()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with NotingReads(subject, passes.read), answering_isinstance():
                    graph = tracer.trace(subject, concrete)
            unused = next((attribute.attr for attribute in tracer.asked if attribute._node is None and not attribute.is_used), None)
            if unused is not None:
                raise ValueError(f"it asks whether a tensor has '{unused}'")
            break
        except Exception as error:
            if tracer.failed is None or tracer.failed in untraceable:
                way = f" with its argument '{argument}'" if argument else ""
                name = type(network).__name__
                raise ValueError(f"cannot fold {name}: torch.fx cannot trace it{way} ({first_line(error)})") from error
            untraceable.add(tracer.failed)
    passes.graphs.append(graph)
    passes.kept |= set(kept_in(subject))
    modules = dict(network.named_modules())
    for node in graph.find_nodes(op="get_attr"):
        if any(not is_about(user) for user in node.users):
            passes.read.add(node.target)
            if node.target in modules:  # given to a function that may call it
                passes.unseen |= {id(module): "a function" for module in modules[node.target].modules()}


def kept_in(network: nn.Module) -> Iterator[fx.Node]:
    """Yield what a traced pass has left in attributes of a network's modules, and in collections among them."""
    waiting, seen = [value for module in network.modules() for value in vars(module).values()], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, fx.Proxy):
            yield value.node
        elif id(value) not in seen and not isinstance(value, (nn.Module, Tensor)):
            seen.add(id(value))
            waiting += contents_of(value)


def is_about(node: fx.Node) -> bool:
    """Say whether a node asks a tensor for its shape or type alone."""
    if node.op == "call_method":
        return node.target in ABOUT_TENSORS
    return node.op == "call_function" and node.target is getattr and node.args[1] in ABOUT_TENSORS


def has_hooks(module: nn.Module) -> bool:
    """Say whether a module with others inside has hooks, which would be given what is traced in place of tensors."""
    return bool(module._forward_hooks or module._forward_pre_hooks) and any(module.children())


def is_own_code(module: nn.Module) -> bool:
    """Say whether a module's forward pass is not torch's, so that it may call and read what is not its own."""
    return not type(module).__module__.startswith(("torch.nn.", "torch.ao.nn."))


class SeeingTracer(fx.Tracer):
    """Trace down to modules of torch, to those without children or with hooks, whoever wrote them, to batch norms, and to some others."""

    def __init__(self, untraceable: set[type], whole: Collection[str]):
        super().__init__(param_shapes_constant=True)
        self.untraceable, self.whole = untraceable, whole
        self.failed: type | None = None  # the class of the innermost module whose forward pass cannot be traced
        self.asked: list[TracedAttribute] = []  # attributes that no tensor has

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Traced(node, self)

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


class Traced(fx.Proxy):
    """What is traced; it notes which attributes are asked for that no tensor has."""

    def __getattr__(self, name: str) -> fx.proxy.Attribute:
        attribute = TracedAttribute(self, name)
        if not hasattr(Tensor, name):
            self.tracer.asked.append(attribute)
        return attribute


class TracedAttribute(fx.proxy.Attribute, Traced):
    """An attribute or a method of what is traced."""

    is_used = False

    def __call__(self, *args: Any, **kwargs: Any) -> fx.Proxy:
        self.is_used = True
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


def held_elsewhere(module: nn.Module) -> Iterator[object]:
    """Yield the modules and tensors that a module, or one inside it, holds in lists, closures and the like, not by registration."""
    inside = set(module.modules())
    own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    waiting, seen = [value for each in inside for value in vars(each).values()], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            yield from value.modules() if value not in inside else ()
        elif isinstance(value, Tensor):
            yield from () if id(value) in own else (value,)
        else:
            waiting += contents_of(value)


def contents_of(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        return list(inspect.getclosurevars(value).nonlocals.values()) + list(value.__defaults__ or ())
    return list(vars(value).values()) if hasattr(value, "__dict__") and not isinstance(value, (type, types.ModuleType)) else []
