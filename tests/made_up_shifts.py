"""Records of covariate_shift with chosen drift, gradient shift, landscape, Jacobians and magnitudes, written as training writes them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from made_up_records import ENVIRONMENT

from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter

STEPS = (0, 100, 200, 300, 400)
LAYERS = ("hidden.0", "hidden.1", "output")


@dataclass
class Shift:
    """How much of everything a run has, its training loss, and its final accuracy."""

    drift: float
    amount: float
    loss: float
    accuracy: float


def write_shift(root: Path, address: str, made_up: Shift) -> None:
    writer, amount = RunWriter(root / address), made_up.amount
    norm = address.split("/")[-1].split("-")[0]
    writer.begin({"norm": norm, "train": {"steps": 400}, "probe": {"percentiles": [15, 50, 85]}}, ENVIRONMENT)
    for row, step in enumerate(STEPS):
        measures = {"landscape/loss": 1.0, "landscape/loss_min": 1 - amount, "landscape/loss_max": 1 + amount}
        measures |= {"landscape/gradient_change_min": amount / 2, "landscape/gradient_change_max": amount}
        measures |= {"landscape/beta_smoothness": 9 * amount}
        for depth, layer in enumerate(LAYERS):
            shift = {"shift": depth * amount, "relative": depth * amount / 2, "cosine": 1 - depth * amount / 5, "gradient_norm": 2.0}
            measures |= {f"gradient_shift/{layer}/{name}": value for name, value in shift.items()}
        for depth, layer in enumerate(LAYERS[:2]):
            spectrum = {f"p{p}": float(np.exp(amount * (p - 50) / 50)) for p in (0, 10, 25, 50, 75, 90)}
            spectrum |= {"largest": float(np.exp(amount)), "distance_from_one": amount / 2, "spread": amount}
            measures |= {f"jacobian/{layer}/{name}": value for name, value in spectrum.items()}
            sizes = {"affine": np.exp(amount * depth), "affine_gradient": np.exp(-3 * amount * depth)}
            measures |= {f"magnitudes/{layer}/{name}": float(value) for name, value in sizes.items()}
        writer.append({"step": step, "accuracy": made_up.accuracy, "train_loss": made_up.loss if row else None, **measures})
        values = np.linspace(-2, 2, 500) + made_up.drift * (len(STEPS) - 1 - row)
        arrays = {
            "percentiles": np.percentile(values, [15, 50, 85]),
            "histogram": np.histogram(values, bins=100, range=(-10, 10))[0],
            "range": np.array([-10.0, 10.0]),
        }
        sites = [f"{layer}/{place}" for layer in LAYERS[:2] for place in ("before_norm", "after_norm")]
        writer.append_activations(step, {f"{site}/{name}": array for site in sites for name, array in arrays.items()})
    writer.finish({"status": FINISHED, "accuracy": made_up.accuracy, "steps": STEPS[-1]})
    writer.close()


def write_shift_tier(root: Path, tier: str, has_bn: bool = True, num_seeds: int = 6) -> None:
    """Write what the claims of covariate shift need; without `has_bn` the arms with BN are more runs without."""
    for seed in range(num_seeds):
        wobble = 0.01 * ((7 * seed) % 3)
        plain = Shift(1 + wobble, 0.8 + wobble, 0.9 + wobble, 0.94 - wobble / 10)
        bn = Shift(0.2 + wobble, 0.1 + wobble / 10, 0.3 + wobble, 0.97 + wobble / 10)
        noisy = Shift(1.5 + wobble, 0.2 + wobble / 10, 0.35 + wobble, 0.968 + wobble / 10)
        noise = Shift(1.7 + wobble, 0.9 + wobble / 10, 1.2 + wobble, 0.92 + wobble / 10)
        other = Shift(1.01 - wobble, 0.81 - wobble, 0.91 - wobble, 0.935 + 0.001 * ((5 * seed + 1) % 3))
        for experiment in ("covariate_shift", "covariate_shift_inception"):
            write_shift(root, f"{experiment}/{tier}/none-s{seed}", plain)
            write_shift(root, f"{experiment}/{tier}/batch-s{seed}", bn if has_bn else other)
            write_shift(root, f"{experiment}/{tier}/noisy_batch-s{seed}", noisy if has_bn else other)
            write_shift(root, f"{experiment}/{tier}/noisy_none-s{seed}", noise if has_bn else plain)
            write_shift(root, f"{experiment}/{tier}/none-s{seed + 10}", other)
