"""How activations are distributed in the training of any network, read off its own forward passes, none of them additional."""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from bn_repro.norms.modes import is_norm
from bn_repro.norms.virtual_batch_norm import is_reference_pass
from bn_repro.probes.activations import LINEAR_RANGE, Site, checked_names, checked_percentiles, what_it_is
from bn_repro.probes.samples import NUM_SAMPLED, Samples
from bn_repro.probes.watching import Pass, Watched, between_graphs, is_measuring, unwatch, watch

MEASURES = ("percentiles", "mean", "std", "histogram", "not_finite")
EVERYWHERE = (-np.inf, np.inf)
LARGEST = float(np.finfo(np.float32).max)
COARSE = 0.9  # of a site's values in two neighbouring bins, or in the two outer ones: its histogram tells too little


class ActivationRecorder:
    """Record percentiles, moments and histograms of every layer's activations while a network trains.

        with ActivationRecorder(network, every=10) as recorder:
            for x, y in batches:
                F.cross_entropy(network(x), y).backward()
                ...
        arrays = recorder.arrays()  # {"step": (R,), "layer1.0.bn1/in/percentiles": (R, 3), ...}

    A step is a forward pass of `network` in training mode with gradients; those of evaluation, and of the probes, are let
    by. At every `every`-th, from the first on, each site's values are sampled and described, on their device and without
    waiting for it. Only `arrays` reads them. No value, gradient or random number of training changes. A module that is
    called several times in a pass, or again in the backward pass by checkpointing, counts by its first call. What is no
    tensor of real numbers (the tuple of an nn.LSTM, what vmap wraps) is not recorded, and a warning says so once.

    Autocast, channels_last and DistributedDataParallel (each process then records its own share of the batch) need
    nothing. For torch.compile enter the with-block before the first compiled call; the graph breaks at every recorded
    module, and fullgraph=True fails.

    Args:
        every: steps between two records.
        layers: names of submodules, as `named_modules` gives them; by default all norms, linear layers and convolutions.
            Of a norm the input (`<name>/in`) and the output (`<name>/out`) are recorded, of another module the output.
        percentiles: in any order; they are recorded in ascending order, and 50 is among them.
        num_sampled: values of a site that are described, evenly spread over it; all, where it has no more.
        bounds: the histograms' range; values beyond it count in the outer bins.

    Raises:
        ValueError: the network has no such layer, the percentiles no median, or a number cannot be meant.
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
        if min(every, num_sampled, num_bins) < 1 or not -LARGEST <= bounds[0] < bounds[1] <= LARGEST:
            numbers = f"every={every}, num_sampled={num_sampled} and num_bins={num_bins}"
            raise ValueError(f"{numbers} must be at least 1, and bounds={bounds} ascending and finite in float32")
        self.network, self.every, self.percentiles = network, every, checked_percentiles(percentiles)
        self._num_bins, self._bounds = num_bins, bounds
        self.sites = sites_of(network, layers, bounds)
        self.step = 0  # of training passes seen so far
        self._num_let_by = 0  # other passes
        self._num_without_sites = 0  # that called none of the layers
        self._told: set[str] = set()  # sites that are known to have no tensor
        self._steps: list[int] = []  # that are recorded
        self._called: set[str] | None = None  # first sites of modules, in the pass under way, if it is recorded
        self._latest: tuple[Tensor, int | None, list[str]] | None = None  # what was sampled last, its version, and the sites it stands for
        self._samples = Samples(num_sampled, self.percentiles, num_bins, bounds)
        self._is_compiled = False
        self._takers = {
            module: (
                between_graphs(partial(self._take_input, sites), partial(self._in_a_graph, self._take_input, sites))
                if sites[0].is_input
                else None,
                between_graphs(partial(self._take_output, sites), partial(self._in_a_graph, self._take_output, sites)),
            )
            for module, sites in self.sites.items()
            if module is not network
        }
        self._watched: list[Callable[[], None]] = []  # what ends the watching of a module

    def __enter__(self) -> Self:
        self._pass = watch(self.network, Pass(self.network.forward, between_graphs(self._begin), between_graphs(self._end)))
        return self

    def __exit__(self, *_: object) -> None:
        unwatch(self.network, self._pass)
        self._unwatch()

    def _watch(self, module: nn.Module, take_input: Callable | None, take_output: Callable) -> Iterator[Callable[[], None]]:
        has_hooks = bool(module._forward_hooks)  # which may change what the module returns
        if has_hooks:
            yield module.register_forward_hook(lambda module, args, output: take_output(output)).remove
        if take_input is not None or not has_hooks:
            watched = watch(module, Watched(module.forward, take_input, None if has_hooks else take_output))
            yield partial(unwatch, module, watched)

    def _unwatch(self) -> None:
        for end in self._watched:
            end()
        self._watched = []

    def _begin(self) -> bool:
        self._called = self._latest = None  # a pass that failed leaves some
        if is_measuring() or not self.network.training or not torch.is_grad_enabled():
            self._num_let_by += not is_measuring()
            return False
        is_recorded = self.step % self.every == 0
        self.step += 1
        if is_recorded:
            self._called = set()
            if not self._watched:
                self._watched = [end for module, takers in self._takers.items() for end in self._watch(module, *takers)]
        return is_recorded

    def _end(self, args: tuple[object, ...], output: object) -> None:
        if self.network in self.sites:
            sites = self.sites[self.network]
            if sites[0].is_input:
                self._take_input(sites, args)
            self._take_output(sites, output)
        if self._called:
            self._steps.append(self.step - 1)
        elif self._called is not None:
            self._num_without_sites += 1
        self._called = self._latest = None
        if not self._is_compiled:
            self._unwatch()

    def _in_a_graph(self, take: Callable[[list[Site], Any], None], sites: list[Site], values: Any) -> None:
        self._is_compiled = True  # and the graphs go on calling it
        take(sites, values)

    def _take_input(self, sites: list[Site], args: tuple[Any, ...]) -> None:
        if self._called is not None and sites[0].name not in self._called and not is_reference_pass():
            self._keep(sites[0], next(iter(args), None))

    def _take_output(self, sites: list[Site], output: Any) -> None:
        if self._called is not None and sites[0].name not in self._called and not is_reference_pass():
            self._called.add(sites[0].name)
            self._keep(sites[-1], output)

    def _keep(self, site: Site, values: Any) -> None:
        why = what_it_is(values)
        if why:
            if site.name not in self._told:
                self._told.add(site.name)
                warnings.warn(f"{site.name} is not recorded: it is {why}", stacklevel=2)
        elif values.numel():
            # A norm's input often is the very output of the layer before it, which need not be described again.
            version = None if values.is_inference() else values._version
            if self._latest is None or self._latest[0] is not values or version is None or self._latest[1] != version:
                self._latest = values, version, []
                self._samples.keep(values.detach(), self.step - 1, self._latest[2])
            self._latest[2].append(site.name)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the records so far, in order of steps and of the network: those that `measures.drift` reads.

        `{"step": (R,), "percentiles": (P,), "<site>/<measure>": (R, ...)}`: which percentiles, and the measures `percentiles`,
        `mean`, `std`, `histogram`, `range` and `not_finite`, how many of the sampled values are NaN or infinite; these are in
        no percentile and no bin. A site that some recorded passes did not call has nan, or a histogram of no values, there.
        Warnings say why there is no record, which layers were never called, and of which the histograms are too coarse.
        """
        if not self._steps:
            passes = f"{self.step} training passes, {self._num_let_by} in evaluation mode or without gradients"
            why = "none of the layers was called" if self._num_without_sites else "training passes of the network itself are recorded"
            warnings.warn(f"nothing was recorded in {passes}; {why}", stacklevel=2)
        rows = self._samples.by_step(self._steps)
        found = {name: value for row in rows.values() for name, value in row.items()}
        columns: dict[str, np.ndarray] = {"step": np.array(self._steps, dtype=int), "percentiles": np.array(self.percentiles)}
        for site in itertools.chain(*self.sites.values()):
            for name in (f"{site.name}/{measure}" for measure in MEASURES if f"{site.name}/{measure}" in found):
                nothing = np.full_like(found[name], np.nan if found[name].dtype.kind == "f" else 0)
                columns[name] = np.stack([row.get(name, nothing) for row in rows.values()])
            if f"{site.name}/histogram" in found:
                columns[f"{site.name}/range"] = np.tile(np.array(site.bounds, np.float32), (len(self._steps), 1))
        described = [sites[0].name for sites in self.sites.values()]  # not outputs of norms, as wide as a gamma that may start at 0
        silent = [name for name in described if f"{name}/histogram" not in columns and name not in self._told]
        if self._steps and silent:
            warnings.warn(f"not recorded, since never called: {listed(silent)}", stacklevel=2)
        coarse = [name for name in described if is_coarse(columns.get(f"{name}/histogram"))]
        if coarse:
            low, high = self._bounds
            bins = f"two of their {self._num_bins} bins from {low:g} to {high:g}"
            why = f"the histograms of {listed(coarse)} have nearly all values in {bins}, so that drift hardly shows in them"
            warnings.warn(f"{why}; give other bounds", stacklevel=2)
        return columns


def listed(names: Sequence[str]) -> str:
    """Name the first two, and count the others."""
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def is_coarse(counts: np.ndarray | None) -> bool:
    """Say of histograms (R, bins) whether nearly all their values are in two neighbouring bins, or in the two outer ones."""
    if counts is None or counts.shape[1] < 3 or not counts.any():
        return False
    total = counts.sum(0)
    return max((total[1:] + total[:-1]).max(), total[0] + total[-1]) > COARSE * total.sum()


def sites_of(network: nn.Module, layers: Sequence[str] | None, bounds: tuple[float, float]) -> dict[nn.Module, list[Site]]:
    """Return by module the inputs and outputs of norms and the outputs of other layers.

    Raises:
        ValueError: the network has no such layer.
    """
    modules = dict(network.named_modules())
    layers = checked_names(layers)
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
