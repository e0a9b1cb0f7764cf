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
    layers, num_batches = {layer: Observed(layer) for layer in batch_norms(network)}, 0
    owners = Counter(id(layer.running_mean) for layer in layers)
    sharing = {layer for layer in layers if owners[id(layer.running_mean)] > 1}
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
        unknown = {layer: "which shares them with another" if layer in sharing else layers[layer].why_unknown() for layer in layers}
        found = {layer: layers[layer].statistics() for layer, why in unknown.items() if why is None}
    for layer, (mean, var) in found.items():
        put(layer, "running_mean", mean)
        put(layer, "running_var", var)
    left = {name: unknown[module] for name, module in network.named_modules() if unknown.get(module)}
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
    """One batch norm while batches pass: mu_B and the unbiased m/(m-1) var_B of its calls, all weighing the same.

    torch averages them by itself, in float32 where the layer is of half precision; its gamma and beta, which it needs in
    the same precision, are taken to it too. Where a class has a forward pass of its own, or torch's kernel of a CPU sums maps
    that are stored channels last, which loses digits, they are computed here.
    """

    def __init__(self, layer: _BatchNorm):
        self.layer = layer
        self.is_torchs = what_differs(layer, BATCH_NORMS) is None
        self.num_calls = 0
        self.moments: list[tuple[Tensor, Tensor]] = []  # of the calls whose moments are not torch's to know
        self.unlike: str | None = None  # what a class of its own does otherwise

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
        layer.momentum = None if self.is_torchs else 1.0  # the mean of all calls; the last one's, as any code understands it
        return layer.register_forward_hook(self.see, with_kwargs=True)

    def see(self, layer: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
        x = (*args, *kwargs.values())[0]
        if not isinstance(x, Tensor):
            self.unlike = f"whose class {type(layer).__name__} takes no tensor"
        elif x.numel() == 0:
            layer.num_batches_tracked -= 1 if self.is_torchs else 0  # torch counts an empty batch as one
        elif self.is_torchs:
            self.num_calls += 1
            if x.device.type == "cpu" and not x.is_contiguous():
                self.moments.append(moments_of(x, 1))
        else:
            self.num_calls += 1
            kept = layer.running_mean, layer.running_var
            dims = sorted((dim for dim in range(x.dim()) if x.shape[dim] == len(kept[0])), key=lambda dim: dim != 1)
            own = next((moments for dim in dims if is_close(moments := moments_of(x, dim), kept, layer.eps)), None)
            if own is None:
                self.unlike = f"whose class {type(layer).__name__} computes others than the paper's"
            else:
                self.moments.append(own)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return (E[x], Var[x]), each (C,)."""
        if self.num_calls and len(self.moments) == self.num_calls:
            mean, var = (torch.stack(each).mean(0) for each in zip(*self.moments))
            return mean, var
        return self.layer.running_mean, self.layer.running_var

    def why_unknown(self) -> str | None:
        if not self.layer.track_running_stats:
            return "whose track_running_stats is off"
        if not all(each.isfinite().all() for moments in (*self.moments, self.statistics()) for each in moments):
            return "whose inputs are not all finite"
        if self.unlike:
            return self.unlike
        return None if self.num_calls else "which no batch reaches"


def moments_of(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the unbiased variance over all dimensions but one, in float64 where the device has it."""
    exact = torch.float32 if x.device.type == "mps" else torch.float64
    var, mean = torch.var_mean(x.to(exact), dim=[other for other in range(x.dim()) if other != dim])
    return mean, var


def is_close(moments: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor], eps: float) -> bool:
    """Say whether what a layer has kept of a batch are the batch's moments; not finite ones are not asked."""
    (mean, var), (own_mean, own_var) = moments, kept
    slack = TOLERANCE * (var + eps)
    is_same = ((own_mean - mean).square() <= TOLERANCE * slack) & ((own_var - var).abs() <= slack)
    return bool((is_same | ~(mean.isfinite() & var.isfinite())).all())
