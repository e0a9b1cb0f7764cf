"""How Weights & Biases mirrors a record: same rows, own step axis, fixed-edge histograms; never in the run's way.

W&B makes a section of what stands before the first slash of a series' name:
    eval/accuracy, eval/loss, train/loss, train/<other metric>, probe/loss
    percentiles/<layer>/<place>/p15, mean/<layer>/<place>, std/..., saturated/..., histograms/...
    <section>/<rest>        a metric of the record that names its section itself
    final/<measure>         the run's summary
"""

import math
import sys
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from bn_repro.config import WandbConfig
from bn_repro.records.record import DIVERGED, Run, flatten

SECONDS_TO_CONNECT = 20
NAMES = {"step": "step", "accuracy": "eval/accuracy", "loss": "eval/loss", "train_loss": "train/loss", "probe_loss": "probe/loss"}
NOT_LOGGED_IN = "not logged in to Weights & Biases; `wandb login` does it, or set WANDB_API_KEY"
KEPT = {"eval/accuracy": "max,last", "eval/loss": "min,last", "train/loss": "min,last"}  # in the summary, of all rows


class Mirror:
    """Copy a run to W&B. The first failure is told in one line, and the run goes on without it.

    Args:
        address: `<experiment>/<tier>/<name>` of the run; the W&B id is made of it, so a resumed run goes on.
        config: the resolved config, nested.
    """

    def __init__(self, settings: WandbConfig, address: str, config: dict[str, Any]):
        self.config = config
        self.run: Any = None
        if settings.mode == "online":
            self.run = self._safely(
                lambda: start_wandb(settings, "online", address, config), "it goes on offline; `wandb sync` sends it later"
            )
        if settings.mode != "disabled" and self.run is None:
            self.run = self._safely(lambda: start_wandb(settings, "offline", address, config))

    def log(self, row: dict[str, Any], activations: dict[str, np.ndarray] | None = None) -> None:
        """Log one row of metrics and, if there is one, the activation record of the same step."""
        if self.run is not None:
            self._safely(lambda: self.run.log(as_wandb_row(row, activations or {}, self.config)))

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Close the run; a summary of None says that it was interrupted."""
        if self.run is not None and summary is not None:
            self._safely(lambda: self.run.summary.update(as_wandb_summary(summary)))
        if self.run is not None:
            self._safely(lambda: self.run.finish(exit_code=0 if summary is not None else 1))
        self.run = None

    def _safely(self, call: Callable[[], Any], otherwise: str = "the run goes on without it") -> Any:
        try:
            return call()
        except Exception as error:
            self.run = None
            reason = str(error).strip().split("\n")[0]
            print(f"warning: W&B failed ({type(error).__name__}: {reason}); {otherwise}", file=sys.stderr)
            return None


def start_wandb(settings: WandbConfig, mode: str, address: str, config: dict[str, Any], job_type: str = "train") -> Any:
    import wandb

    experiment, tier, name = address.split("/")
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    wandb.teardown()  # an attempt that failed would still hold the id
    run = wandb.init(
        project=settings.project,
        entity=settings.entity,
        mode=mode,
        dir=settings.folder,
        id=wandb_id(address),
        resume="allow" if mode == "online" else None,
        group=experiment,
        job_type=job_type,
        name=name,
        tags=[tier],
        config=config,
        settings=wandb.Settings(silent=True, console="off", init_timeout=SECONDS_TO_CONNECT, x_disable_stats=True),
    )
    if job_type == "train":
        run.define_metric("step", hidden=True)
        run.define_metric("*", step_metric="step")
        for name, kept in KEPT.items():
            run.define_metric(name, step_metric="step", summary=kept)
    return run


def is_logged_in() -> bool:
    """Say whether this machine has a W&B login; nothing is asked of the server."""
    import wandb

    return wandb.login(prompt=False, verify=False)


def wandb_id(address: str) -> str:
    """Turn an address into the letters that W&B allows in an id."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in address)[-128:]


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


def export(run: Run, settings: WandbConfig, config: dict[str, Any]) -> bool:
    """Rebuild a clean W&B run from a record, whatever fragments its training left; say whether W&B took all of it."""
    mirror = Mirror(settings, run.address, config)
    activations = run.activations
    row_of_step = {int(step): row for row, step in enumerate(activations.get("step", ()))}
    for row in run.metrics:
        at = row_of_step.get(row["step"])
        arrays = {} if at is None else {name: array[at] for name, array in activations.items() if name != "step"}
        mirror.log(row, arrays)
    is_whole = mirror.run is not None
    mirror.finish(run.summary if run.is_complete else None)
    return is_whole
