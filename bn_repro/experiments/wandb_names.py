"""What Weights & Biases calls what a record holds: ids that it allows, series of metrics, fixed-edge histograms.

W&B makes a section of what stands before the first slash of a series' name:
    eval/accuracy, eval/score, eval/loss, train/loss, train/<other metric>, probe/loss
    percentiles/<layer>/<place>/p15, mean/<layer>/<place>, std/..., saturated/..., histograms/...
    <section>/<rest>        a metric of the record that names its section itself
    final/<measure>         the run's summary
"""

import hashlib
import math
import re
from numbers import Real
from typing import Any

import numpy as np

from bn_repro.records.reading import flatten
from bn_repro.records.record import DIVERGED

LONGEST, LONGEST_TAG = 128, 64  # letters that W&B allows in ids, names and groups, and in tags
DIGEST = 10  # letters
MEASURED = ("accuracy", "score", "loss")
NAMES = {"step": "step", "train_loss": "train/loss", "probe_loss": "probe/loss"} | {name: f"eval/{name}" for name in MEASURED}
KEPT = {"eval/accuracy": "max,last", "eval/score": "max,last", "eval/loss": "min,last", "train/loss": "min,last"}  # in the summary


def wandb_id(address: str) -> str:
    """Turn an address into the letters that W&B allows in an id; two addresses never have one id.

    What stands between words becomes a hyphen. Where other letters are lost, or the end, a digest of the address stands for them.
    """
    spelled = re.sub(r"[/,=]", "-", address)
    allowed = re.sub(r"[^A-Za-z0-9_.-]", "-", spelled)
    return allowed if allowed == spelled and len(allowed) <= LONGEST else shortened(allowed, address, LONGEST)


def shortened(text: str, whole: str, length: int) -> str:
    """Return the start of a text, and a digest of the whole that it is of, in so many letters at most."""
    digest = hashlib.sha256(whole.encode()).hexdigest()[:DIGEST]
    return f"{text[: length - DIGEST - 1]}-{digest}"


def fitting(text: str, length: int = LONGEST) -> str:
    """Return what W&B shows, no longer than it allows."""
    return text if len(text) <= length else shortened(text, text, length)


def as_wandb_row(row: dict[str, Any], activations: dict[str, np.ndarray], config: dict[str, Any]) -> dict[str, Any]:
    """Return one `log` call's content: metrics, scalars and a histogram per layer and place."""
    import wandb

    logged = {series_name(name): value for name, value in row.items()}
    for name, array in activations.items():
        site, measure = name.rsplit("/", 1)
        if measure == "histogram":
            low, high = activations[f"{site}/range"]
            edges = np.linspace(low, high, len(array) + 1)
            logged[f"histograms/{site}"] = wandb.Histogram(np_histogram=(array, edges))
        elif measure == "percentiles":
            logged |= {f"percentiles/{site}/p{p:g}": float(value) for p, value in zip(config["probe"]["percentiles"], array)}
        elif measure in ("mean", "std", "saturated"):
            logged[f"{measure}/{site}"] = float(array)
    # The record's rows have no other numbers either, and a run and its export shall be the same.
    return {name: value for name, value in logged.items() if isinstance(value, wandb.Histogram) or is_finite(value)}


def series_name(metric: str) -> str:
    """Return what W&B calls a metric of the record; one with a slash keeps its section."""
    return NAMES.get(metric, metric if "/" in metric else f"train/{metric}")


def as_wandb_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a run's summary with a name for each number, such as `final/scale_invariance/output`, and whether it diverged."""
    flat = {f"final/{name.replace('.', '/')}": value for name, value in flatten(summary).items()}
    flat["final/diverged"] = summary.get("status") == DIVERGED
    return {name: value for name, value in flat.items() if isinstance(value, str) or is_finite(value)}


def is_finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)
