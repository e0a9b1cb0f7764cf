"""How far a layer's distribution moves in training, from records: percentile paths and distances between histograms (Figures 1b, 1c).

Histograms have fixed edges, so two distances are between cumulative counts at the edges. Of the values themselves,
Wasserstein-1 differs by a bin's width at most and Kolmogorov-Smirnov is higher by one bin's share at most, if no value
lies beyond the range. What lies beyond counts in the outer bins: its further movement there is not seen.
"""

from collections.abc import Callable, Mapping

import numpy as np

INPUTS, BEFORE_NORM = "after_norm", "before_norm"  # places: the inputs of nonlinearities, as in Figures 1b and 1c; what BN takes
NARROWEST = 1e-6  # a width is never less, so that units which say nothing are not infinitely restless
Distance = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def percentile_path(percentiles: np.ndarray) -> np.ndarray:
    """Return how far each percentile travels, all changes added, in units of the final width: (R, ..., P) -> (..., P).

    R are the records in order; the width is from the lowest to the highest percentile.
    """
    percentiles = percentiles.astype(float)
    return np.abs(np.diff(percentiles, axis=0)).sum(0) / final_width(percentiles)[..., None]


def final_width(percentiles: np.ndarray) -> np.ndarray:
    return np.maximum(percentiles[-1, ..., -1] - percentiles[-1, ..., 0], NARROWEST)


def wasserstein(counts: np.ndarray, others: np.ndarray, bin_width: float) -> np.ndarray:
    """Return the Wasserstein-1 distance of histograms (..., bins), each bin's values being at its center."""
    return np.abs(cumulative(counts) - cumulative(others)).sum(-1) * bin_width


def kolmogorov_smirnov(counts: np.ndarray, others: np.ndarray, bin_width: float = 1.0) -> np.ndarray:
    """Return the largest difference of the cumulative shares of histograms (..., bins), in [0, 1]."""
    return np.abs(cumulative(counts) - cumulative(others)).max(-1)


def cumulative(counts: np.ndarray) -> np.ndarray:
    """Return the share of values up to the end of each bin; of an empty histogram (a diverged network's), nan."""
    totals = counts.sum(-1, keepdims=True, dtype=float)
    return np.cumsum(counts, axis=-1) / np.where(totals, totals, np.nan)


def drift(activations: Mapping[str, np.ndarray], place: str) -> dict[str, np.ndarray]:
    """Return `{measure: (layers,)}` of one place of all layers, in the record's order, which is that of the network.

    The measures: `median_path`, the path of the median over all units; and of the distances `wasserstein`, in units of
    the layer's final width, and `kolmogorov_smirnov`: `<distance>_to_final`, from each record to the last, on average,
    and `<distance>_path`, between consecutive records, all added. Paths grow with the number of records: compare
    records of the same steps.

    Args:
        activations: a run's, `{"<layer>/<place>/<measure>": (R, ...)}` of at least two records. Which percentiles they
            are stands under `percentiles`, as a recorder's do; without it, the median is the middle one.
        place: for example `after_norm`.

    Raises:
        ValueError: nothing was recorded there, fewer than two records, or percentiles that have no median, no width or no order.
    """
    layers = layers_at(activations, place)
    if not layers:
        places = sorted({name.split("/")[-2] for name in activations if name.endswith("/histogram")})
        raise ValueError(f"place '{place}' was not recorded; choices: {', '.join(places)}")
    rows = [drift_of_layer(activations, f"{layer}/{place}") for layer in layers]
    return {measure: np.array([row[measure] for row in rows]) for measure in rows[0]}


def layers_at(activations: Mapping[str, np.ndarray], place: str) -> list[str]:
    """List the layers that were recorded at a place, in the record's order, which is that of the network."""
    return [name.removesuffix(f"/{place}/histogram") for name in activations if name.endswith(f"/{place}/histogram")]


def index_of_median(activations: Mapping[str, np.ndarray], percentiles: np.ndarray) -> int:
    """Return which of the percentiles (..., P) is the median.

    Raises:
        ValueError: none, or there is no width around it, or they do not ascend.
    """
    num = percentiles.shape[-1]
    which = list(activations["percentiles"]) if "percentiles" in activations else None
    if num < 3 or (50 not in which[1:-1] if which else num % 2 == 0):
        raise ValueError(f"percentiles {which or f'(there are {num})'} have no median between a lower and a higher one, as 15, 50, 85 have")
    if (np.diff(percentiles, axis=-1) < 0).any():
        raise ValueError("the recorded percentiles do not ascend; record them in ascending order")
    return which.index(50) if which else num // 2


def drift_of_layer(activations: Mapping[str, np.ndarray], site: str) -> dict[str, float]:
    percentiles, counts = activations[f"{site}/percentiles"], activations[f"{site}/histogram"]
    if len(counts) < 2:
        raise ValueError(f"drift is between records; of {site} there are {len(counts)}")
    low, high = activations[f"{site}/range"][0].astype(float)
    width, bin_width = final_width(percentiles), (high - low) / counts.shape[-1]
    measures = {"median_path": percentile_path(percentiles)[index_of_median(activations, percentiles)]}
    distances: dict[str, tuple[Distance, float]] = {"wasserstein": (wasserstein, width), "kolmogorov_smirnov": (kolmogorov_smirnov, 1.0)}  # type: ignore[dict-item]
    for name, (distance, unit) in distances.items():
        measures[f"{name}_to_final"] = distance(counts[:-1], counts[-1], bin_width).mean() / unit
        measures[f"{name}_path"] = distance(counts[:-1], counts[1:], bin_width).sum() / unit
    return {measure: float(value) for measure, value in measures.items()}


def over_depth(measures: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the median and the mean over the layers of each measure, as `<measure>/median` and `<measure>/mean`."""
    return {f"{name}/{how.__name__}": float(how(values)) for name, values in measures.items() for how in (np.median, np.mean)}
