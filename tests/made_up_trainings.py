"""Records of section 4.2 with chosen accuracies, written as training writes them."""

from collections.abc import Sequence
from pathlib import Path

from made_up_records import ENVIRONMENT

from bn_repro.records.record import DIVERGED, FINISHED
from bn_repro.records.writing import RunWriter

ROWS, STEPS = 61, 6000
LEARNING_RATES = (0.01, 0.1, 1.0, 10.0)


def write_training(root: Path, address: str, accuracies: Sequence[float], has_diverged: bool = False, lr: float = 0.01) -> None:
    """Write a run that measured these accuracies every 100 of 6,000 steps; a diverged one ended early."""
    norm = "batch" if "batch" in address or "bn_" in address else "none"
    writer = RunWriter(root / address)
    writer.begin({"norm": norm, "train": {"steps": STEPS, "lr": lr, "eval_every": 100}}, ENVIRONMENT)
    for row, accuracy in enumerate(accuracies):
        writer.append({"step": 100 * row, "accuracy": accuracy})
    errors = {"scale_invariance": dict.fromkeys(("output", "input_gradient", "weight_gradient"), 1e-5)} if norm == "batch" else {}
    status = DIVERGED if has_diverged else FINISHED
    writer.finish({"status": status, "accuracy": accuracies[-1], "steps": 100 * (len(accuracies) - 1), **errors})
    writer.close()


def rising(best: float, rise: int) -> list[float]:
    """Return accuracies that reach `best` after `rise` rows and stay."""
    return [0.1 + (best - 0.1) * min(row / rise, 1) for row in range(ROWS)]


def write_inception_tier(root: Path, tier: str, has_bn: bool = True, num_seeds: int = 6) -> None:
    """Write what the claims of section 4.2 need; without `has_bn` the arms with BN are more runs without."""
    for experiment in ("inception",):
        for seed in range(num_seeds):
            wobble = 0.002 * ((7 * seed) % 3)
            other = rising(0.54 + 0.002 * ((5 * seed + 1) % 3), 50)
            arms = {"bn_baseline": (0.59, 9), "bn_x5": (0.8, 1), "bn_x30": (0.9, 1), "bn_x5_sigmoid": (0.45, 3)}
            write_training(root, f"{experiment}/{tier}/inception-s{seed}", rising(0.54 + wobble, 50))
            write_training(root, f"{experiment}/{tier}/inception-s{seed + 10}", other)
            for arm, (best, rise) in arms.items():
                without = [0.1] * ROWS if "sigmoid" in arm else other
                write_training(root, f"{experiment}/{tier}/{arm}-s{seed}", rising(best + wobble, rise) if has_bn else without)
            for arm in ("inception_x5", "inception_x30"):
                write_training(root, f"{experiment}/{tier}/{arm}-s{seed}", [0.1, 0.1] if has_bn else other, has_diverged=has_bn)
            write_training(root, f"{experiment}/{tier}/inception_sigmoid-s{seed}", [0.1] * ROWS if has_bn else other)
    for experiment in ("lr_sweep", "lr_sweep_inception"):
        for seed in range(num_seeds):
            write_sweep(root, f"{experiment}/{tier}", "none", seed, usable=1)
            write_sweep(root, f"{experiment}/{tier}", "batch", seed, usable=3 if has_bn else 1, gain=0.1 if has_bn else 0)
            write_sweep(root, f"{experiment}/{tier}", "none", seed + 10, usable=1)


def write_sweep(root: Path, prefix: str, norm: str, seed: int, usable: int, gain: float = 0.0) -> None:
    """Write runs of which the lowest `usable` learning rates train, the largest best, and the others diverge."""
    for rank, lr in enumerate(LEARNING_RATES):
        accuracy = 0.6 + gain + 0.01 * rank + 0.003 * ((3 * seed + len(norm)) % 4)
        address = f"{prefix}/{norm}-s{seed},train.lr={lr:g}"
        if rank < usable:
            write_training(root, address, [0.1, accuracy], lr=lr)
        else:
            write_training(root, address, [0.1, 0.1], has_diverged=True, lr=lr)
