"""How activations are distributed in the training of any network, read off its own forward passes, none of them additional."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from bn_repro.probes.activations import LINEAR_RANGE, Site, spread_out

NUM_SAMPLED = 20_000  # the ranks of this many drawn values are all off by less than 0.01 with 96 % confidence (Massart 1990)
EVERYWHERE = (-np.inf, np.inf)


class ActivationRecorder:
    """Record percentiles, moments and histograms of every layer's activations while a network trains.

        with ActivationRecorder(network, every=10) as recorder:
            for x, y in batches:
                F.cross_entropy(network(x), y).backward()
                ...
        arrays = recorder.arrays()  # {"step": (R,), "layer1.0.bn1/in/percentiles": (R, 3), ...}

    A step is a forward pass of `network` in training mode with gradients; those of evaluation are let by. At every
    `every`-th, from the first on, each site's values are sampled and described, on their device and without waiting for
    it. Only `arrays` reads them. No value, gradient or random number of training changes. A module that is called several
    times in a pass, or again in the backward pass by checkpointing, counts by its first call.

    Autocast, channels_last and DistributedDataParallel (each process then records its own share of the batch) need
    nothing. For torch.compile enter the with-block before the first compiled call; the graph breaks at every recorded
    module, and fullgraph=True fails.

    Args:
        every: steps between two records.
        layers: names of submodules, as `named_modules` gives them; by default all norms, linear layers and convolutions.
            Of a norm the input (`<name>/in`) and the output (`<name>/out`) are recorded, of another module the output.
        num_sampled: values of a site that are described, evenly spread over it; all, where it has no more.
        bounds: the histograms' range; values beyond it count in the outer bins.

    Raises:
        ValueError: the network has no such layer.
    """

    def __init__(
        self,
        network: nn.Module,
        every: int = 10,
        layers: Sequence[str] | None = None,
        percentiles: Sequence[float] = (15, 50, 85),
        num_sampled: int = NUM_SAMPLED,
        num_bins: int = 100,
        bounds: tuple[float, float] = LINEAR_RANGE,
    ):
        self.network, self.every, self.percentiles = network, every, list(percentiles)
        self.num_sampled, self.num_bins = num_sampled, num_bins
        self.sites = sites_of(network, layers, bounds)
        self.step = 0  # of training passes seen so far
        self._row: dict[str, Tensor] | None = None  # of the pass under way, if it is recorded
        self._rows: list[tuple[int, dict[str, Tensor]]] = []
        self._latest: tuple[Tensor, int, dict[str, Tensor]] | None = None  # what was described last, its version, and what of it
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        self._hooks = [
            self.network.register_forward_pre_hook(between_graphs(self._begin)),
            self.network.register_forward_hook(between_graphs(self._end)),
        ]
        for module, sites in self.sites.items():
            self._hooks.append(module.register_forward_hook(between_graphs(partial(self._record, sites)), prepend=True))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, network: nn.Module, args: object) -> None:
        self._row = None  # a pass that failed leaves one
        if network.training and torch.is_grad_enabled():
            self._row = {} if self.step % self.every == 0 else None
            self.step += 1

    def _end(self, network: nn.Module, args: object, output: object) -> None:
        if self._row:
            self._rows.append((self.step - 1, self._row))
        self._row = self._latest = None

    def _record(self, sites: list[Site], module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if self._row is None or f"{sites[0].name}/mean" in self._row:
            return
        for site in sites:
            values = args[0] if site.is_input else output
            # A norm's input often is the very output of the layer before it, which need not be described again.
            if self._latest is None or self._latest[0] is not values or self._latest[1] != values._version:
                self._latest = values, values._version, self._describe(values, site.bounds)
            self._row |= {f"{site.name}/{measure}": value for measure, value in self._latest[2].items()}

    @torch.no_grad()
    def _describe(self, values: Tensor, bounds: tuple[float, float]) -> dict[str, Tensor]:
        """Describe values by one sort; nothing leaves their device."""
        values = sample(values.detach(), self.num_sampled).float()
        # numpy's sort is an order of magnitude faster than torch's, where both can
        ordered = values.sort().values if values.device.type != "cpu" else torch.from_numpy(np.sort(values.numpy()))
        ranks = [percentile / 100 * (len(ordered) - 1) for percentile in self.percentiles]
        edges = torch.linspace(*bounds, self.num_bins + 1, device=values.device)[1:-1]
        num_below = F.pad(torch.searchsorted(ordered, edges), (1, 0))
        mean = values.mean()
        return {
            "percentiles": torch.stack([ordered[math.floor(r)].lerp(ordered[math.ceil(r)], r % 1) for r in ranks]),
            "mean": mean,
            "std": (values - mean).square().mean().sqrt(),
            "histogram": F.pad(num_below, (0, 1), value=len(ordered)).diff().to(torch.int32),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the records so far, in order of steps: those of a run's record that `claims.drift` reads.

        `{"step": (R,), "<site>/<measure>": (R, ...)}` with the measures `percentiles`, `mean`, `std`, `histogram` and `range`.
        A site that some recorded passes did not call has nan, or a histogram of no values, there.
        """
        columns: dict[str, np.ndarray] = {"step": np.array([step for step, _ in self._rows], dtype=int)}
        found = {name: value for _, row in self._rows for name, value in row.items()}
        for name, like in found.items():
            nothing = torch.full_like(like, torch.nan if like.is_floating_point() else 0)
            columns[name] = torch.stack([row.get(name, nothing) for _, row in self._rows]).cpu().numpy()
        for site in itertools.chain(*self.sites.values()):
            if f"{site.name}/histogram" in columns:
                columns[f"{site.name}/range"] = np.tile(np.float32(site.bounds), (len(self._rows), 1))
        return columns


def between_graphs(hook: Callable[..., None]) -> Callable[..., None]:
    """Let a hook break a compiled graph; without a graph around it, spare it the cost of torch's wrapper."""
    disabled = torch.compiler.disable(hook)
    return lambda *args: disabled(*args) if torch.compiler.is_compiling() else hook(*args)


def sites_of(network: nn.Module, layers: Sequence[str] | None, bounds: tuple[float, float]) -> dict[nn.Module, list[Site]]:
    """Return by module the inputs and outputs of norms and the outputs of other layers.

    Raises:
        ValueError: the network has no such layer.
    """
    modules = dict(network.named_modules())
    unknown = [name for name in layers or () if name not in modules]
    if unknown:
        raise ValueError(f"{type(network).__name__} has no layer '{unknown[0]}'; its layers are what named_modules() gives")
    if layers is None:
        layers = [name for name, module in modules.items() if is_norm(module) or isinstance(module, (nn.Linear, _ConvNd))]
    sites = {}
    for name in layers:
        module = modules[name]
        sites[module] = [Site(f"{name}/in", module, True, bounds, EVERYWHERE)] if is_norm(module) else []
        sites[module].append(Site(f"{name}/out", module, False, bounds, EVERYWHERE))
    return sites


def is_norm(module: nn.Module) -> bool:
    """Say whether a module is a norm, by its class's name: there is no base class for those of torch, timm and others."""
    return isinstance(module, _NormBase) or ("norm" in type(module).__name__.lower() and not any(module.children()))


def sample(values: Tensor, num: int) -> Tensor:
    """Return at most `num` of the values, as one dimension, evenly spread over all others."""
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        values = values.permute(0, 2, 3, 1)  # which flattens without a copy
    values = values.flatten()
    return values if len(values) <= num else values.index_select(0, spread_out(len(values), values.device, num))
