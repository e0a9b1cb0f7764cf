"""How a network is called with what a DataLoader gives: tensors, tuples, dicts."""

import copy
import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map

from bn_repro.norms.modes import first_line

Values = TypeVar("Values")


@dataclasses.dataclass
class InPlaceOfForward:
    """Stand for a module's `forward`; copies and pickles of the module have the `forward` itself."""

    forward: Callable[..., Any]

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.forward)  # so that who asks what a network takes is told

    def __reduce__(self) -> tuple[Any, ...]:
        return itself, (self.forward,)


def itself(forward: Callable[..., Any]) -> Callable[..., Any]:
    return forward


def own_forward(network: nn.Module) -> Callable[..., Any]:
    """Return a network's forward pass without what watches it."""
    forward: Any = network.forward
    while isinstance(forward, InPlaceOfForward):
        forward = forward.forward
    return forward


def inputs_of(network: nn.Module, batch: object) -> object:
    """Return the inputs of a batch: its first entry, all of them where the network requires as many arguments, or the batch itself."""
    if not isinstance(batch, (tuple, list)) or isinstance(batch, PackedSequence) or len(batch) == 0:
        return batch
    is_all = len(batch) == num_arguments(network)[0] > 1
    is_first = isinstance(batch[0], (tuple, list)) and len(batch[0]) == len(batch)  # with targets beside it
    if is_all and not is_first:
        return tuple(batch)
    are_examples = isinstance(batch[0], tuple) and any(isinstance(each, (tuple, list)) and len(each) == len(batch[0]) for each in batch[1:])
    return (batch[0],) if are_examples and num_arguments(network)[0] <= 1 else batch[0]  # tuple(zip(*examples)): one argument


def num_arguments(network: nn.Module) -> tuple[int, int]:
    """Return how many positional arguments a forward pass requires, and how many it takes at most; of a wrapper, what is in it."""
    parameters = inspect.signature(network.forward).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    is_open = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    wrapped = getattr(network, "_orig_mod", getattr(network, "module", None))  # of torch.compile; of DataParallel, averages and others
    if is_open and not positional and isinstance(wrapped, nn.Module):
        return num_arguments(wrapped)
    return sum(p.default is p.empty for p in positional), sys.maxsize if is_open else len(positional)


def arguments_of(network: nn.Module, x: object) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return (args, kwargs) of the call of a network with inputs x.

    A tuple is several arguments where the forward pass takes so many, a list where it requires so many, more than one. Of a
    dict, those entries that the forward pass has arguments for; the dict itself where it has none of these names.
    """
    if isinstance(x, Mapping):
        parameters = inspect.signature(network.forward).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return (), dict(x)
        named = {parameter.name: x[parameter.name] for parameter in parameters if parameter.name in x}
        return ((), named) if named else ((x,), {})
    if not isinstance(x, (tuple, list)) or type(x) not in (tuple, list):  # a namedtuple is one argument
        return (x,), {}
    required, most = num_arguments(network)
    are_several = required <= len(x) <= most if type(x) is tuple else len(x) == required > 1
    return (tuple(x) if are_several else (x,)), {}


def fresh_arguments(network: nn.Module, x: object) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return what `arguments_of` does, the tensors copied: a network may change its inputs in place, and they are used again."""
    return fresh(arguments_of(network, x))


def fresh(values: Values) -> Values:
    """Return values with the tensors among them copied, also those in mappings of other kinds and in objects such as graphs.

    Raises:
        ValueError: an object cannot be copied.
    """

    def copy_of(leaf: object) -> object:
        if isinstance(leaf, Tensor):
            return leaf.detach().clone().requires_grad_(leaf.requires_grad)
        if not isinstance(leaf, Mapping) and (callable(leaf) or not (hasattr(leaf, "__dict__") or hasattr(leaf, "__slots__"))):
            return leaf
        try:
            return copy.deepcopy(leaf, {id(t): t.detach().clone() for t in tensors_within(leaf) if not t.is_leaf})
        except Exception as error:
            raise ValueError(f"an input of class {type(leaf).__name__} cannot be copied ({first_line(error)})") from error

    return tree_map(copy_of, values)


def tensors_within(value: object) -> list[Tensor]:
    """List the tensors that an object or a mapping holds by name."""
    held = value.values() if isinstance(value, Mapping) else vars(value).values() if hasattr(value, "__dict__") else ()
    return [each for each in held if isinstance(each, Tensor)]


def call(network: nn.Module, x: object) -> object:
    """Call a network with copies of inputs x.

    Raises:
        ValueError: x is a dict that it cannot take.
    """
    return call_with(network, x, *fresh_arguments(network, x))


def call_with(network: nn.Module, x: object, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Call a network with arguments that are made of inputs x; see `call`."""
    try:
        return network(*args, **kwargs)
    except (TypeError, AttributeError) as error:
        if not isinstance(x, Mapping):
            raise
        takes = ", ".join(inspect.signature(network.forward).parameters)
        raise ValueError(
            f"{type(network).__name__} takes ({takes}), not a dict of {', '.join(map(str, x))}: {first_line(error)}"
        ) from error


def tensors_in(x: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(dict(x) if isinstance(x, Mapping) else x) if isinstance(leaf, Tensor)]


def is_empty(x: object) -> bool:
    """Say whether inputs have no examples."""
    return any(tensor.dim() > 0 and len(tensor) == 0 for tensor in tensors_in(x)[:1])
