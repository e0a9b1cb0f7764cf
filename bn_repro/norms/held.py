"""What modules hold other than by registration: in lists and other collections, closures, methods and objects."""

import collections
import functools
import inspect
import types
from collections.abc import Iterator

from torch import Tensor, nn

COLLECTIONS = (dict, list, tuple, set, collections.deque)
SIMPLE = (bool, int, float, str, type(None))
OF_MODULES = frozenset(vars(nn.Module()))  # attributes that all modules have: parameters, hooks


def modules_of(network: nn.Module) -> list[nn.Module]:
    """List the modules of a network, those too that it holds in plain collections or unregistered."""
    found = dict.fromkeys(network.modules())
    waiting, seen = list(found), set()
    while waiting:
        values = [value for name, value in vars(waiting.pop()).items() if name not in OF_MODULES and type(value) not in SIMPLE]
        while values:
            value = values.pop()
            if isinstance(value, nn.Module):
                new = [module for module in value.modules() if module not in found]
                found.update(dict.fromkeys(new))
                waiting += new
            elif isinstance(value, COLLECTIONS) and id(value) not in seen:
                seen.add(id(value))
                values += value.values() if isinstance(value, dict) else value
    return list(found)


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
