"""Virtual batch norm: statistics of a reference batch that is chosen once, so that an example does not depend on its neighbours.

Two forms share the name. Salimans et al. 2017 (evolution strategies) and both public implementations of it: the moments of
the reference batch alone. Salimans et al. 2016 (GANs): those of the reference batch and the example itself, together. In
both, the reference batch is normalized by its own moments.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bn_repro.norms.calling import own_forward

REFERENCE = "reference_batch"  # the buffer of a network that keeps one
_is_reference_pass = ContextVar("is_reference_pass", default=False)


class VirtualBatchNorm(nn.Module):
    """Normalize (N, C) or (N, C, H, W) by the moments of a reference batch, then scale and shift: gamma * xhat + beta.

    The moments are of a feature over the R reference examples and, of maps, over their locations; the variance is biased.
    They are functions of the parameters below, and gradients flow through them. A pass of the reference batch takes them:
    see `reference_statistics` and `keep_reference`.

    Args:
        has_example: count the example itself as one of R + 1 (Salimans et al. 2016); else the reference alone (2017).
        has_gamma: False leaves the scale out.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, has_example: bool = False, has_gamma: bool = True):
        super().__init__()
        self.num_features, self.eps, self.has_example = num_features, eps, has_example
        self.gamma = nn.Parameter(torch.ones(num_features)) if has_gamma else None
        self.beta = nn.Parameter(torch.zeros(num_features))
        self.is_reference = False  # the batch under way is the reference
        self.takes_once = False  # and passes once
        self.moments: tuple[Tensor, Tensor, int] | None = None  # mean (C,), biased variance (C,), R

    def forward(self, x: Tensor) -> Tensor:
        check_features(x, self.num_features)
        if self.is_reference:
            if self.takes_once and self.moments is not None:
                raise ValueError("virtual batch norm is called twice in a pass, with two distributions; give each call a norm of its own")
            self.take(x)
        scale, shift = self.affine(x if self.has_example and not self.is_reference else None)
        if scale.dim() == 1:
            per_feature = (1, -1) + (1,) * (x.dim() - 2)
            scale, shift = scale.view(per_feature), shift.view(per_feature)
        return torch.addcmul(shift, x.to(scale.dtype), scale).to(x.dtype)

    def take(self, x_ref: Tensor) -> None:
        """Take the moments of a reference batch.

        Raises:
            ValueError: it has a single value per feature.
        """
        if x_ref.numel() // x_ref.shape[1] < 2:
            raise ValueError(f"a reference batch of one value per feature has no variance; it has shape {tuple(x_ref.shape)}")
        self.moments = *moments_over(x_ref, [0, *range(2, x_ref.dim())]), len(x_ref)

    def affine(self, x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (scale, shift) of the map that the norm is: (C,) by the reference alone, (N, C, ...) with each example of x.

        Raises:
            ValueError: there is no reference.
        """
        if self.moments is None:
            how = "reference_statistics(network, x_ref) gives some, though not to what activation checkpoints compute again"
            raise ValueError(f"virtual batch norm has no reference statistics; {how}")
        mean, var, size = self.moments
        gamma, beta = self.gamma, self.beta
        if x is not None:
            per_feature = (1, -1) + (1,) * (x.dim() - 2)
            mean, var = with_example(x, mean.view(per_feature), var.view(per_feature), size)
            gamma, beta = None if gamma is None else gamma.view(per_feature), beta.view(per_feature)
        scale = torch.rsqrt(var + self.eps) if gamma is None else gamma * torch.rsqrt(var + self.eps)
        return scale, beta - mean * scale

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, has_example={self.has_example}"


def check_features(x: Tensor, num_features: int) -> None:
    """Refuse an input of other features than a norm has, which would be broadcast.

    Raises:
        ValueError: it is of others.
    """
    if x.dim() < 2 or x.shape[1] != num_features:
        raise ValueError(f"expected (N, {num_features}, ...), got an input of shape {tuple(x.shape)}")


def moments_over(x: Tensor, dims: list[int], keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance; of 16-bit numbers in float32."""
    x = x if x.dtype == torch.float64 else x.float()
    var, mean = torch.var_mean(x, dim=dims, correction=0, keepdim=keepdim)
    return mean, var


def with_example(x: Tensor, mean: Tensor, var: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the moments (N, C, ...) of the reference's `size` examples and each example of x, all R + 1 weighing the same."""
    weight = 1 / (size + 1)
    if x.dim() > 2:
        own_mean, own_var = moments_over(x, list(range(2, x.dim())), keepdim=True)  # (N, C, 1, 1)
    else:
        own_mean, own_var = x, torch.zeros_like(x)
    apart = own_mean - mean
    return mean + weight * apart, (1 - weight) * var + weight * own_var + weight * (1 - weight) * apart**2


def virtual_batch_norms(network: nn.Module) -> list[VirtualBatchNorm]:
    return [module for module in network.modules() if isinstance(module, VirtualBatchNorm)]


@contextmanager
def reference_statistics(network: nn.Module, x_ref: Tensor) -> Iterator[None]:
    """Let a network normalize by the statistics of a reference batch, which every pass of it computes anew before its own.

    So the statistics are always those of the present parameters. The reference passes through all layers at once, each
    layer's being normalized by its own moments. It passes through the network's own hooks as other batches do, and batch norms
    beside, in training, count it as one.

    Args:
        x_ref: (R, ...) inputs of the network.
    """
    before = getattr(network, REFERENCE, None)
    hooks = keep_reference(network, x_ref)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        if before is None:
            delattr(network, REFERENCE)
        else:
            setattr(network, REFERENCE, before)


def keep_reference(network: nn.Module, x_ref: Tensor) -> tuple[RemovableHandle, ...]:
    """Give a network a reference batch for good, as `reference_statistics` does for a while; its state_dict then holds it.

    Returns:
        What would take it away again; nothing if the network had one before.
    """
    had_one = hasattr(network, REFERENCE)
    network.register_buffer(REFERENCE, x_ref)
    if had_one:
        return ()
    return (
        network.register_forward_pre_hook(take_moments, with_kwargs=True),
        network.register_forward_hook(forget_moments, always_call=True),
    )


def take_moments(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Pass the reference batch through the network before another batch, with the same further arguments, if there are some.

    Raises:
        ValueError: examples of the two have different shapes; texts, which are whole numbers, may have different lengths.
            Or the batch is several tensors, or none.
    """
    reference = getattr(network, REFERENCE)
    batches = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    if len(batches) != 1:
        raise ValueError(f"a reference batch is one tensor; {type(network).__name__} is called with {len(batches)}")
    if not virtual_batch_norms(network):
        return
    copied = reference.clone()  # which the network may change in place
    in_its_place = tuple(copied if value is batches[0] else value for value in args)
    by_name = {name: copied if value is batches[0] else value for name, value in kwargs.items()}
    before, after = other_hooks(network)
    token = _is_reference_pass.set(True)
    try:
        with taking_reference(network), taking_once(network):
            in_its_place, by_name = through(before, network, in_its_place, by_name)
            check_shapes(batches[0], in_its_place, by_name)
            in_its_place, by_name = through(after, network, in_its_place, by_name)
            own_forward(network)(*in_its_place, **by_name)
    finally:
        _is_reference_pass.reset(token)


@contextmanager
def taking_once(network: nn.Module) -> Iterator[None]:
    """Let every virtual batch norm refuse a second batch, whose moments would stand for the first too."""
    norms = virtual_batch_norms(network)
    for norm in norms:
        norm.takes_once, norm.moments = True, None
    try:
        yield
    finally:
        for norm in norms:
            norm.takes_once = False


Hook = tuple[Callable[..., Any], bool]  # and whether it takes keyword arguments


def other_hooks(network: nn.Module) -> tuple[list[Hook], list[Hook]]:
    """Return the network's forward pre-hooks that run before `take_moments` and after it."""
    hooks = [(hook, number in network._forward_pre_hooks_with_kwargs) for number, hook in network._forward_pre_hooks.items()]
    place = next(number for number, (hook, _) in enumerate(hooks) if hook is take_moments)
    return hooks[:place], hooks[place + 1 :]


def through(hooks: list[Hook], network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments as forward pre-hooks leave them."""
    for hook, takes_kwargs in hooks:
        changed = hook(network, args, kwargs) if takes_kwargs else hook(network, args)
        if changed is not None and takes_kwargs:
            args, kwargs = changed
        elif changed is not None:
            args = changed if isinstance(changed, tuple) else (changed,)
    return args, kwargs


def check_shapes(batch: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Compare a batch with the reference among arguments.

    Raises:
        ValueError: examples of the two have different shapes.
    """
    reference = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    if batch.is_floating_point() and batch.shape[1:] != reference.shape[1:]:
        shapes = tuple(reference.shape[1:]), tuple(batch.shape[1:])
        raise ValueError(f"examples of the reference batch have shape {shapes[0]}, those of the batch {shapes[1]}")


def is_reference_pass() -> bool:
    """Say whether what passes is a network's reference batch, ahead of the batch it is called with."""
    return _is_reference_pass.get()


def forget_moments(network: nn.Module, args: Any, output: Any) -> None:
    for norm in virtual_batch_norms(network):
        norm.moments = None


@contextmanager
def taking_reference(network: nn.Module) -> Iterator[None]:
    """Let every virtual batch norm take the batches that pass for its reference."""
    norms = virtual_batch_norms(network)
    before = [norm.is_reference for norm in norms]
    for norm in norms:
        norm.is_reference = True
    try:
        yield
    finally:
        for norm, was_reference in zip(norms, before):
            norm.is_reference = was_reference
