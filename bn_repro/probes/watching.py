"""How what goes in and out of modules is seen at a fraction of the cost of hooks: something else stands in the place of `forward`."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

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
class InPlaceOfForward:
    """Stand for a module's `forward`; copies and pickles of the module have the `forward` itself."""

    forward: Callable[..., Tensor]

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.forward)  # so that who asks what a network takes is told

    def __reduce__(self) -> tuple[Any, ...]:
        return itself, (self.forward,)


def itself(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return forward


@dataclass
class Watched(InPlaceOfForward):
    """Show what goes in and comes out of a module, each when it does; a hook would cost several times as much."""

    see_input: Callable[[tuple[Any, ...]], None] | None
    see_output: Callable[[Any], None]

    def __call__(self, *args: Tensor, **kwargs: object) -> Tensor:
        if self.see_input is not None:
            self.see_input(args or tuple(kwargs.values()))
        output = self.forward(*args, **kwargs)
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


def watch(module: nn.Module, watched: InPlaceOfForward) -> object:
    """Put `watched` in the place of the module's `forward` and return what stood there, for `unwatch`."""
    own = vars(module).get("forward")
    vars(module)["forward"] = watched
    return own


def unwatch(module: nn.Module, own: object) -> None:
    if own is None:
        vars(module).pop("forward", None)
    else:
        vars(module)["forward"] = own


def between_graphs(call: Callable[..., Any], compiled: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Let a call break a compiled graph; without a graph around it, spare it the cost of torch's wrapper."""
    disabled = torch.compiler.disable(compiled or call)
    return lambda *args: disabled(*args) if torch.compiler.is_compiling() else call(*args)
