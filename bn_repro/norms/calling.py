"""How a network is called with what a DataLoader gives: tensors, tuples, dicts."""

import inspect
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

from bn_repro.norms.modes import first_line


def inputs_of(batch: object) -> object:
    """Return the inputs of a batch: the first entry of a tuple or list, the batch itself otherwise."""
    if isinstance(batch, (tuple, list)) and not isinstance(batch, PackedSequence) and len(batch) > 0:
        return batch[0]
    return batch


def arguments_of(network: nn.Module, x: object) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return (args, kwargs) of the call of a network with inputs x.

    A tuple or list is several arguments where the forward pass requires so many. Of a dict, those entries that the forward
    pass has arguments for; the dict itself where it has none of these names.
    """
    parameters = inspect.signature(network.forward).parameters.values()
    if isinstance(x, Mapping):
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return (), dict(x)
        named = {parameter.name: x[parameter.name] for parameter in parameters if parameter.name in x}
        return ((), named) if named else ((x,), {})
    if isinstance(x, (tuple, list)) and type(x) in (tuple, list) and len(x) > 1:
        required = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if len(required) == len(x):
            return tuple(x), {}
    return (x,), {}


def call(network: nn.Module, x: object) -> object:
    """Call a network with inputs x.

    Raises:
        ValueError: x is a dict that it cannot take.
    """
    args, kwargs = arguments_of(network, x)
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
