"""How what goes in and out of modules is seen at a fraction of the cost of hooks: something else stands in the place of `forward`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bn_repro.norms.calling import InPlaceOfForward
from bn_repro.norms.modes import is_of_class

_is_measuring = ContextVar("is_measuring", default=False)


@contextmanager
def measuring() -> Iterator[None]:
    """Say that forward passes are a measurement's, not training's: no recorder counts them."""
    token = _is_measuring.set(True)
    try:
        yield
    finally:
        _is_measuring.reset(token)


def is_measuring() -> bool:
    return _is_measuring.get()


@dataclass
class Watched(InPlaceOfForward):
    """Show what goes in and comes out of a module, each when it does; a hook would cost several times as much."""

    see_input: Callable[[tuple[Any, ...]], None] | None
    see_output: Callable[[Any], None] | None

    def __call__(self, *args: Tensor, **kwargs: object) -> Tensor:
        if self.see_input is not None:
            self.see_input(args or tuple(kwargs.values()))
        output = self.forward(*args, **kwargs)
        if self.see_output is not None:
            self.see_output(output)
        return output


@dataclass
class Pass(InPlaceOfForward):
    """Show the passes of a network; `begin` says whether `end` wants to see one."""

    begin: Callable[[], bool]
    end: Callable[[tuple[Any, ...], Any], None]

    def __call__(self, *args: Tensor, **kwargs: object) -> Tensor:
        is_seen = self.begin()
        output = self.forward(*args, **kwargs)
        if is_seen:
            self.end(args or tuple(kwargs.values()), output)
        return output


def watch(module: nn.Module, watched: InPlaceOfForward) -> InPlaceOfForward:
    """Put `watched` in the place of the module's `forward`, and return it."""
    vars(module)["forward"] = watched
    return watched


def unwatch(module: nn.Module, watched: InPlaceOfForward) -> None:
    """Take `watched` away again, wherever it stands among others that came before or after it."""
    above, standing = None, vars(module).get("forward")
    while isinstance(standing, InPlaceOfForward) and standing is not watched:
        above, standing = standing, standing.forward
    if standing is not watched:
        return
    if above is not None:
        above.forward = watched.forward
    elif is_of_class(module, watched.forward):
        del vars(module)["forward"]
    else:
        vars(module)["forward"] = watched.forward


def between_graphs(call: Callable[..., Any], compiled: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Let a call break a compiled graph; without a graph around it, spare it the cost of torch's wrapper."""
    disabled = torch.compiler.disable(compiled or call)
    return lambda *args: disabled(*args) if torch.compiler.is_compiling() else call(*args)
