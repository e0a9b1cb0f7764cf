"""How the distribution of every layer's activations looks at one step (Figures 1b and 1c), for any network."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from bn_repro.networks.normed_layer import NormalizedTanh
from bn_repro.norms import noise_from
from bn_repro.norms.calling import call
from bn_repro.norms.virtual_batch_norm import is_reference_pass
from bn_repro.probes.undisturbed import undisturbed

MAX_SORTED = 16_384  # values; the rank of a percentile of this many is off by less than 0.011 at 95 % confidence
FLOAT32_COUNTS = 2**24  # values; a bin of more would stop there
LINEAR_RANGE = (-10.0, 10.0)
# At these inputs a sigmoid is within 0.05 of its bounds; tanh(x) = 2 sigmoid(2x) - 1 has the same at half of it.
SATURATION = float(np.log(19))


@dataclass(frozen=True)
class Site:
    """A place whose values are measured.

    Args:
        name: how the record calls it, for example `hidden.2/after_norm`.
        module: the module whose first input or whose output is measured.
        is_input: measure the input instead of the output.
        bounds: the histogram's range; values beyond it count in its outer bins.
        unsaturated: the open interval outside of which a value counts as saturated.
    """

    name: str
    module: nn.Module
    is_input: bool
    bounds: tuple[float, float]
    unsaturated: tuple[float, float]


def sites_around(network: nn.Module) -> list[Site]:
    """List, for every submodule with children `norm` and `nonlinearity`, the places before, between and after them."""
    sites = []
    for name, layer in network.named_modules():
        if isinstance(getattr(layer, "norm", None), nn.Module) and isinstance(getattr(layer, "nonlinearity", None), nn.Module):
            into, out_of, bounds = unsaturated_intervals(layer.nonlinearity)
            sites += [
                Site(f"{name}/before_norm", layer.norm, True, LINEAR_RANGE, into),
                Site(f"{name}/after_norm", layer.norm, False, LINEAR_RANGE, into),
                Site(f"{name}/after_nonlinearity", layer.nonlinearity, False, bounds, out_of),
            ]
    return sites


def unsaturated_intervals(nonlinearity: nn.Module) -> tuple[tuple[float, float], ...]:
    """Return where g is not flat, as an interval of its input and of its output, and the range of its output."""
    if isinstance(nonlinearity, nn.Sigmoid):
        return (-SATURATION, SATURATION), (0.05, 0.95), (0.0, 1.0)
    if isinstance(nonlinearity, nn.Tanh):
        return (-SATURATION / 2, SATURATION / 2), (-0.9, 0.9), (-1.0, 1.0)
    if isinstance(nonlinearity, NormalizedTanh):  # its output has no bound of its own below which it is not flat
        return (-SATURATION / 2, SATURATION / 2), (-np.inf, np.inf), (-1.0, 1.0)
    if isinstance(nonlinearity, nn.ReLU):
        return (0.0, np.inf), (0.0, np.inf), (0.0, LINEAR_RANGE[1])
    return (-np.inf, np.inf), (-np.inf, np.inf), LINEAR_RANGE


class ActivationProbe:
    """Measure the activations of a network on a batch: percentiles, moments, saturation, histogram.

        probe = ActivationProbe(network, sites_around(network))
        logits, arrays = probe(x)

    Args:
        percentiles: in [0, 100], in any order; they are measured in ascending order, and 50 is among them.
        num_units: the first so many units (features or feature maps) whose own percentiles are returned.
        num_bins: of the fixed-edge histogram over all units.
    """

    def __init__(
        self,
        network: nn.Module,
        sites: Sequence[Site],
        percentiles: Sequence[float] = (15, 50, 85),
        num_units: int = 25,
        num_bins: int = 100,
    ):
        self.network, self.sites, self.percentiles = network, list(sites), checked_percentiles(percentiles)
        self.num_units, self.num_bins = num_units, num_bins

    def __call__(self, x: Tensor, noise: torch.Generator | None = None) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Return the logits by batch statistics, and `{"<site>/<measure>": array}`.

        The measures: `percentiles` (P,), `unit_percentiles` (U, P), `mean`, `std`, `saturated` (a fraction),
        `histogram` (bins,) of counts, `range` (2,) and `not_finite`, how many values are NaN or infinite; these are in no
        percentile and no bin. A module that is called several times counts by its first call. Training is the same, bit
        for bit, with and without it.

        Args:
            x: a tensor, or a tuple or dict of the network's arguments.
            noise: of a norm that adds noise, measure the outputs with noise drawn from this generator; None: without.

        Raises:
            ValueError: what a site names is no tensor of (N, C, ...).
        """
        arrays: dict[str, np.ndarray] = {}
        with undisturbed(self.network), noise_from(self.network, noise), self._listening(arrays):
            logits = call(self.network, x)
        return logits, arrays

    @contextmanager
    def _listening(self, arrays: dict[str, np.ndarray]) -> Iterator[None]:
        hooks = []
        try:
            for site in self.sites:
                if site.is_input:  # before the module can change it in place
                    hooks.append(site.module.register_forward_pre_hook(self._hook(site, arrays), with_kwargs=True))
                else:
                    hooks.append(site.module.register_forward_hook(self._hook(site, arrays), with_kwargs=True))
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, site: Site, arrays: dict[str, np.ndarray]):
        def hook(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object = None) -> None:
            if f"{site.name}/range" not in arrays and not is_reference_pass():
                values = next(iter((*args, *kwargs.values())), None) if site.is_input else output
                for measure, value in self.measure(site, values).items():
                    arrays[f"{site.name}/{measure}"] = value

        return hook

    def measure(self, site: Site, values: Tensor) -> dict[str, np.ndarray]:
        """Describe activations (N, C, ...) at a site."""
        what = what_it_is(values)
        if what or values.dim() < 2 or values.numel() == 0:
            raise ValueError(f"site '{site.name}' needs a tensor of real numbers (N, C, ...), not {what or tuple(values.shape)}")
        values = values.detach().to(torch.promote_types(values.dtype, torch.float32))
        low, high = site.unsaturated
        std, mean = torch.std_mean(values, correction=0)
        counted = values if std.isfinite() else values[values.isfinite()]  # of finite values the deviation may still be none
        by_unit = values[:, : self.num_units].transpose(0, 1).flatten(1)  # (U, N * locations)
        return {
            "percentiles": percentiles_of(values.flatten(), self.percentiles).cpu().numpy(),
            "unit_percentiles": percentiles_of(by_unit, self.percentiles).cpu().numpy(),
            "mean": mean.cpu().numpy(),
            "std": std.cpu().numpy(),
            "saturated": ((values <= low) | (values >= high)).float().mean().cpu().numpy(),
            "histogram": counts_in_bins(counted, site.bounds, self.num_bins).to(torch.int32).cpu().numpy(),
            "not_finite": np.asarray(values.numel() - counted.numel(), dtype=np.int32),
            "range": np.asarray(site.bounds, dtype=np.float32),
        }


def checked_percentiles(percentiles: Sequence[float]) -> list[float]:
    """Return percentiles in ascending order.

    Raises:
        ValueError: one is not in [0, 100], or 50 is missing, the median that `drift` follows.
    """
    percentiles = list(percentiles)
    if not all(0 <= percentile <= 100 for percentile in percentiles) or 50 not in percentiles:
        raise ValueError(f"percentiles {percentiles} must be in [0, 100] and hold 50, the median; the paper's are 15, 50, 85")
    return sorted(set(percentiles))


def checked_names(layers: Sequence[str] | None) -> list[str] | None:
    """Return names of layers as a list; None for all.

    Raises:
        ValueError: it is one name, whose letters would be taken for names.
    """
    if isinstance(layers, str):
        raise ValueError(f"layers='{layers}' is one name; give a list, layers=['{layers}']")
    return None if layers is None else list(layers)


def what_it_is(values: object) -> str | None:
    """Say what a value is that cannot be described; None: a tensor of numbers in memory."""
    if not isinstance(values, Tensor):
        return f"a {type(values).__name__}, not a tensor"
    if torch._C._functorch.is_functorch_wrapped_tensor(values):
        return "inside a transform of torch.func"
    is_small = values.is_floating_point() and values.itemsize < 2  # no arithmetic is defined on these
    if is_small or values.is_complex() or values.is_quantized or values.is_nested or values.layout != torch.strided or values.is_meta:
        return f"a tensor of {values.dtype} on {values.device} that is not plain"
    return None


def counts_in_bins(values: Tensor, bounds: tuple[float, float], num_bins: int) -> Tensor:
    """Return what `torch.histc` does, (bins,), with what lies beyond the bounds in the outer bins; on a CPU faster, of many values."""
    if values.numel() >= FLOAT32_COUNTS:
        values = values.double()
    values = values.clamp(*bounds)
    if values.device.type != "cpu":
        return torch.histc(values, num_bins, *bounds)
    low, high = (torch.tensor(bound, dtype=values.dtype) for bound in bounds)
    places = values.sub_(low).mul_(num_bins).div_(high - low).flatten().to(torch.int64)
    return torch.bincount(places.clamp_(max=num_bins - 1), minlength=num_bins)


@cache
def spread_out(num_values: int, device: torch.device, num: int = MAX_SORTED) -> Tensor:
    """Return `num` different indices below `num_values`, evenly spread, and so over every row and column.

    They are multiples of a number near the golden section that shares no factor with `num_values`; an even stride
    would share one with the number of units, and meet some units only.
    """
    step = int(num_values * 0.6180339887)
    while math.gcd(step, num_values) > 1:
        step += 1
    return torch.arange(num, device=device) * step % num_values


def percentiles_of(values: Tensor, percentiles: Sequence[float]) -> Tensor:
    """Return percentiles (..., P) of the finite values along the last dimension, linearly interpolated; nan where there are none.

    Exact up to `MAX_SORTED` values; of more, a spread-out subsample is sorted.
    """
    if values.shape[-1] > MAX_SORTED:
        values = values.index_select(-1, spread_out(values.shape[-1], values.device))
    fractions = torch.tensor(percentiles, device=values.device, dtype=torch.float64) / 100
    if not values.sum().isfinite() and not (is_finite := values.isfinite()).all():
        ordered = torch.where(is_finite, values, torch.nan).sort(dim=-1).values  # nan last
        ranks = (fractions * (is_finite.sum(-1, keepdim=True) - 1)).clamp(min=0)
        below, above = (ordered.gather(-1, rank.long()) for rank in (ranks.floor(), ranks.ceil()))
        return torch.lerp(below, above, (ranks - ranks.floor()).to(ordered.dtype))
    rank = fractions * (values.shape[-1] - 1)
    below, above = rank.floor().long(), rank.ceil().long()
    if values.device.type == "cpu":  # numpy's sort is several times faster than torch's, and than its own selection of some ranks
        ordered = torch.from_numpy(np.sort(values.detach().numpy(), axis=-1))
    else:
        ordered = values.sort(dim=-1).values
    return torch.lerp(ordered[..., below], ordered[..., above], (rank - below).to(ordered.dtype))
