"""What the forward pass of any network calls and reads in evaluation mode, as torch.fx tells it, and what it cannot see into."""

import inspect
import itertools
import warnings
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from bn_repro.norms.held import contents_of, held_elsewhere
from bn_repro.norms.modes import evaluating_copy, first_line, keeping_random_numbers
from bn_repro.norms.tracer import ABOUT_TENSORS, NotingReads, SeeingTracer, answering_isinstance, has_hooks

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
            if tracer.only_asked_for():
                raise ValueError(f"it asks whether a tensor has '{tracer.only_asked_for()}'")
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


def is_own_code(module: nn.Module) -> bool:
    """Say whether a module's forward pass is not torch's, so that it may call and read what is not its own."""
    return not type(module).__module__.startswith(("torch.nn.", "torch.ao.nn."))
