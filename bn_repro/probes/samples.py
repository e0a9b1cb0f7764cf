"""How samples of activations are described: percentiles, moments and histograms of hundreds at a time, each by one sort."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bn_repro.probes.activations import spread_out

NUM_SAMPLED = 20_000  # the ranks of this many drawn values are all off by less than 0.01 with 96 % confidence (Massart 1990)
# Samples are described so many at once, since each of the dozen calls that takes is slow by itself.
MAX_WAITING, MAX_SAMPLES = 1_000_000, 200  # values and samples of one size
HUGE = 2.0**40  # whose squares' sum is far from the end of float32


@dataclass
class Waiting:
    """Samples (S, num) of one size that are not described yet, the first so many as there are steps, and the sites of each."""

    samples: Tensor
    rows: Sequence[Tensor]
    steps: list[int] = field(default_factory=list)
    names: list[list[str]] = field(default_factory=list)


class Samples:
    """Values of sites, sampled on their device and described there when there are enough; only `by_step` reads them.

    Args:
        num: values of a site that are described, evenly spread over it; all, where it has no more.
        percentiles: in ascending order.
        bounds: the histograms' range.
    """

    def __init__(self, num: int, percentiles: Sequence[float], num_bins: int, bounds: tuple[float, float]):
        self.num, self.percentiles, self.num_bins, self.bounds = num, percentiles, num_bins, bounds
        self._waiting: dict[tuple[int, torch.device, torch.dtype], Waiting] = {}  # by the samples' size, place and format
        self._described: list[tuple[list[int], list[list[str]], dict[str, Tensor]]] = []  # steps, sites and measures (S, ...)

    def keep(self, values: Tensor, step: int, names: list[str]) -> None:
        """Copy a sample of the values of the sites with these names, and describe all of its size when there is no more room."""
        sampled = sample(values, self.num)
        dtype = torch.promote_types(values.dtype, torch.float32)
        waiting = self._waiting.get((len(sampled), values.device, dtype))
        if waiting is None:
            num_samples = min(MAX_SAMPLES, max(1, MAX_WAITING // len(sampled)))
            samples = torch.empty(num_samples, len(sampled), device=values.device, dtype=dtype)
            waiting = self._waiting[len(sampled), values.device, dtype] = Waiting(samples, samples.unbind())
        waiting.rows[len(waiting.steps)].copy_(sampled)
        waiting.steps.append(step)
        waiting.names.append(names)
        if len(waiting.steps) == len(waiting.rows):
            self._describe_waiting(waiting)

    def _describe_waiting(self, waiting: Waiting) -> None:
        if waiting.steps:
            self._described.append((waiting.steps, waiting.names, self._describe(waiting.samples[: len(waiting.steps)])))
        waiting.steps, waiting.names = [], []

    @torch.no_grad()
    def _describe(self, values: Tensor) -> dict[str, Tensor]:
        """Describe samples (S, num), each by one sort, and use them up; nothing leaves their device."""
        num_samples, num = values.shape
        mean = values.mean(1, keepdim=True)
        is_bad = values.isfinite().logical_not_()
        num_bad = is_bad.sum(1, keepdim=True)
        values.masked_fill_(is_bad, torch.inf)  # which is sorted to the end, and no edge or percentile reaches
        if values.device.type == "cpu":
            values.numpy().sort(axis=1)  # an order of magnitude faster than torch's
            ordered = values
        else:
            ordered = values.sort(1).values
        percents = torch.tensor(self.percentiles, dtype=torch.float64).to(values.device, non_blocking=True)
        ranks = (percents / 100 * (num - 1 - num_bad)).clamp_(min=0)  # (S, P)
        below, above = (ordered.gather(1, rank.long()) for rank in (ranks.floor(), ranks.ceil()))
        edges = torch.linspace(*self.bounds, self.num_bins + 1, device=values.device)[1:-1].repeat(num_samples, 1)
        num_below = torch.searchsorted(ordered, edges, out_int32=True)
        counts = torch.cat([torch.zeros_like(num_bad), num_below, num - num_bad], dim=1).diff()
        percentiles = below.lerp(above, (ranks - ranks.floor()).to(below.dtype))
        apart = ordered.sub_(mean)  # last, since in place
        is_huge = torch.maximum(apart[:, :1].abs(), apart[:, -1:].abs()) > HUGE
        scale = torch.where(is_huge, HUGE**-2, 1.0)  # a power of two, so that no other number changes
        std = apart.mul_(scale).square_().mean(1, keepdim=True).sqrt_().div_(scale)
        return {
            "percentiles": percentiles.masked_fill_(num_bad == num, torch.nan),
            "mean": mean.squeeze(1),
            "std": std.masked_fill_(num_bad > 0, torch.nan).squeeze(1),
            "histogram": counts.int(),
            "not_finite": num_bad.squeeze(1).int(),
        }

    def by_step(self, steps: Sequence[int]) -> dict[int, dict[str, np.ndarray]]:
        """Return `{step: {"<site>/<measure>": value}}` of these steps."""
        for waiting in self._waiting.values():
            self._describe_waiting(waiting)
        rows: dict[int, dict[str, np.ndarray]] = {step: {} for step in steps}
        for of_steps, names_of, measures in self._described:
            for measure, values in measures.items():
                for step, names, value in zip(of_steps, names_of, values.cpu().numpy()):
                    if step in rows:  # and not of a pass that failed
                        rows[step] |= {f"{name}/{measure}": value for name in names}
        return rows


def sample(values: Tensor, num: int) -> Tensor:
    """Return at most `num` of the values, as one dimension, evenly spread over all others."""
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        values = values.permute(0, 2, 3, 1)  # which flattens without a copy
    values = values.flatten()
    return values if len(values) <= num else values.index_select(0, spread_out(len(values), values.device, num))
