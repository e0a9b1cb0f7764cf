"""What a network's batch norms use at inference: the population statistics that training leaves to be estimated (Algorithm 2)."""

import warnings
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from bn_repro.norms.batch_norm import batch_norms, normalizing_by_batch
from bn_repro.norms.calling import call, inputs_of, is_empty, tensors_in
from bn_repro.norms.modes import keeping_random_numbers, keeping_state, refuse_scripted
from bn_repro.norms.torchs_own import BATCH_NORMS, what_differs

TOLERANCE = 1e-3  # of statistics that a class computes in its own way, relative to the standard deviation and the variance


@torch.no_grad()
def estimate_population_statistics(network: nn.Module, batches: Iterable[object]) -> int:
    """Replace the moving averages of every batch norm by Algorithm 2's population statistics.

    With the parameters frozen, E[x] becomes the mean over the batches of mu_B, and Var[x] the mean of
    m/(m-1) var_B, in float32 or better. One pass serves all layers: each one's input is the training network's, in which
    the layers below normalize by the same batch, as in the paper. Dropout is off. A layer called several times in a
    forward pass averages over its calls.

    Norms that no batch reaches, such as those of heads that run in training mode alone, that compute statistics in a way of
    their own, or whose inputs are not finite, keep what they have, and a warning names one and says how many. All else that
    the passes change is put back.

    Args:
        batches: each of the training batch size m: inputs, or a tuple or list whose first entry is the inputs, as a
            DataLoader gives, or whose entries are all arguments of a network of several; a dict goes to the arguments that
            it names. Empty ones are passed over.

    Returns:
        The number of batches used. The modes of all modules, and all statistics if an error occurs, are restored.

    Raises:
        ValueError: there are no batches, or parts of the network are scripted.
    """
    refuse_scripted(network, "estimate the statistics of")
    layers, left, num_batches = {layer: Observed(layer) for layer in batch_norms(network)}, {}, 0
    with keeping_state(network), ExitStack() as hooks:
        for observed in layers.values():
            hooks.callback(observed.begin().remove)
        with normalizing_by_batch(network):
            for batch in batches:
                x = inputs_of(network, batch)
                if not is_empty(x):
                    with keeping_random_numbers(*tensors_in(x)):
                        call(network, x)
                    num_batches += 1
        if num_batches == 0:
            raise ValueError("population statistics need at least one batch that is not empty")
        for observed in layers.values():
            observed.end()
    owners = Counter(id(layer.running_mean) for layer in layers)
    for name, layer in network.named_modules():
        if layer in layers:
            why = layers[layer].why_unknown() if owners[id(layer.running_mean)] == 1 else "which shares them with another"
            if why:
                left[name] = why
            else:
                put(layer, "running_mean", layers[layer].mean)
                put(layer, "running_var", layers[layer].var)
    if left:
        name, why = next(iter(left.items()))
        more = "" if len(left) == 1 else f", and {len(left) - 1} more"
        warnings.warn(f"{len(left)} of {len(layers)} batch norms keep their statistics: {name}, {why}{more}", stacklevel=2)
    return num_batches


def put(layer: nn.Module, name: str, value: Tensor) -> None:
    own = getattr(layer, name)
    if own.is_inference():
        setattr(layer, name, value.to(own))
    else:
        own.copy_(value)


class Observed:
    """One batch norm while batches pass: torch averages mu_B and the unbiased m/(m-1) var_B with equal weights.

    Where the layer is of half precision, it averages in float32, and its gamma and beta, which it needs in the same
    precision, are taken to it too.
    """

    def __init__(self, layer: _BatchNorm):
        self.layer = layer
        self.is_torchs = what_differs(layer, BATCH_NORMS) is None
        self.mean = self.var = None
        self.seen: list[tuple[Tensor, Tensor]] = []  # the moments of each call's input, where they are not torch's to know

    def begin(self) -> RemovableHandle:
        """Make the layer count from 0; the caller keeps its state, and removes the hook."""
        layer = self.layer
        exact = torch.promote_types(layer.running_mean.dtype, torch.float32)
        layer._buffers["running_mean"] = torch.zeros_like(layer.running_mean, dtype=exact)
        layer._buffers["running_var"] = torch.ones_like(layer.running_var, dtype=exact)
        layer._buffers["num_batches_tracked"] = torch.zeros((), dtype=torch.long, device=layer.running_mean.device)
        for name, value in layer._parameters.items():
            if value is not None and value.dtype != torch.promote_types(value.dtype, torch.float32):
                layer._parameters[name] = nn.Parameter(value.float(), value.requires_grad)
        layer.momentum = None
        return layer.register_forward_hook(self.see, with_kwargs=True)

    def see(self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        x = (*args, *kwargs.values())[0]
        if x.numel() == 0:
            layer.num_batches_tracked -= 1  # torch counts an empty batch as one
        elif not self.is_torchs:
            var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), dim=[0, *range(2, x.dim())])
            self.seen.append((mean, var))

    def end(self) -> None:
        layer = self.layer
        self.mean, self.var, self.num_calls = layer.running_mean, layer.running_var, int(layer.num_batches_tracked)

    def why_unknown(self) -> str | None:
        if self.num_calls == 0:
            return "which no batch reaches" if self.layer.track_running_stats else "whose track_running_stats is off"
        assert self.mean is not None and self.var is not None, "asked after its end"
        if not (self.mean.isfinite().all() and self.var.isfinite().all()):
            return "whose inputs are not all finite"
        if self.is_torchs:
            return None
        mean, var = (torch.stack(moments).mean(0) for moments in zip(*self.seen))
        slack = TOLERANCE * (var + self.layer.eps)
        is_same = ((self.mean - mean).square() <= TOLERANCE * slack).all() and ((self.var - var).abs() <= slack).all()
        return None if is_same else f"whose class {type(self.layer).__name__} computes others than the paper's"
