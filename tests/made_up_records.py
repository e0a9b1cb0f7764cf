"""Records with chosen numbers, written as training writes them."""

import dataclasses
from pathlib import Path

import numpy as np

from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter

ENVIRONMENT = {
    "python": "3.11.0", "packages": {"torch": "2.11.0"}, "commit": "0" * 40, "is_modified": False, "system": "Linux x86_64",
    "processor": "a processor", "cores": 2, "accelerator": None,
}  # fmt: skip


@dataclasses.dataclass
class MadeUp:
    """What a made-up run measured; percentiles (rows, units, 3) of the input to the last hidden layer's sigmoids."""

    accuracies: list[float]
    percentiles: np.ndarray
    num_batch_norms: int = 0
    scale_error: float = 9.0
    folding_error: float = 0.0
    bias_norms: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    more: dict[str, float] = dataclasses.field(default_factory=dict)  # of every row


def write(root: Path, address: str, made_up: MadeUp) -> None:
    rows = len(made_up.accuracies)
    writer = RunWriter(root / address)
    norm = "batch" if made_up.num_batch_norms else "none"
    writer.begin({"norm": norm, "network": {"depth": 3}, "probe": {"percentiles": [15, 50, 85]}}, ENVIRONMENT)
    for row, accuracy in enumerate(made_up.accuracies):
        columns = {"bias_norm": made_up.bias_norms, "probe_loss": made_up.losses}
        measured = {name: values[row] for name, values in columns.items() if values}
        writer.append({"step": 100 * row, "accuracy": accuracy, **measured, **made_up.more})
        percentiles = made_up.percentiles[row]
        arrays = {
            "unit_percentiles": percentiles,
            "percentiles": percentiles.mean(0),
            "histogram": np.histogram(percentiles, bins=50, range=(-10, 10))[0],
            "range": np.array([-10.0, 10.0]),
        }
        writer.append_activations(100 * row, {f"hidden.2/after_norm/{name}": array for name, array in arrays.items()})
    writer.finish(
        {
            "status": FINISHED,
            "accuracy": made_up.accuracies[-1],
            "accuracy_moving_averages": made_up.accuracies[-1],
            "num_batch_norms": made_up.num_batch_norms,
            "num_folded": made_up.num_batch_norms,
            "folding_error": made_up.folding_error,
            "scale_invariance": dict.fromkeys(("output", "input_gradient", "weight_gradient"), made_up.scale_error),
            "steps": 100 * (rows - 1),
        }
    )
    writer.close()


def percentiles_moving(distance: float, rows: int = 5, units: int = 4) -> np.ndarray:
    """Return (rows, units, 3): the median travels `distance` evenly, the width is 2 throughout."""
    medians = np.linspace(0, distance, rows)[:, None, None]
    return np.tile(medians + np.array([-1.0, 0.0, 1.0]), (1, units, 1)).astype(np.float32)


def write_tier(root: Path, tier: str, has_bn: bool = True, num_seeds: int = 6) -> None:
    """Write the runs that every claim but section 2's needs; without `has_bn` the BN arms are more runs without."""
    for seed in range(num_seeds):
        wobble = 0.001 * ((7 * seed) % 3)
        plain = MadeUp([0.1, 0.5 + wobble, 0.9, 0.95, 0.96 + wobble, *[0.96] * 5], percentiles_moving(4 + wobble, 10))
        bn = MadeUp([0.1, *[0.98 + wobble] * 9], percentiles_moving(1 + wobble, 10), 3, 1e-5, 1e-7)
        other = MadeUp([0.1, 0.5, 0.9, 0.951 - wobble, *[0.96 + 0.001 * ((5 * seed + 1) % 3)] * 6], percentiles_moving(4.1 - wobble, 10))
        write(root, f"mnist_sigmoid/{tier}/none-s{seed}", plain)
        write(root, f"mnist_sigmoid/{tier}/batch-s{seed}", bn if has_bn else other)
        write(root, f"mnist_best/{tier}/plain_best-s{seed}", plain)
        write(root, f"mnist_sigmoid/{tier}/none-s{seed + 10}", other)
        write(root, f"mnist_best/{tier}/plain_best-s{seed + 10}", other)
        write(root, f"mnist_best/{tier}/bn_best-s{seed}", bn if has_bn else other)
