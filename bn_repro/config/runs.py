"""The knobs that every run has, whatever its kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bn_repro.config.knobs import knob

TIERS = ("smoke", "quick", "long", "gpu", "imagenet")
VIRTUAL_NORMS = ("virtual_batch", "virtual_batch_with_example")
NORMS = ("none", "batch", "outside_gradient", "outside_gradient_center", "layer", "group", "noisy_batch", "noisy_none", *VIRTUAL_NORMS)
PRECISIONS = ("float32", "bfloat16")


@dataclass
class WandbConfig:
    mode: str = knob("where Weights & Biases mirrors the run", choices=("online", "offline", "disabled"), changes_result=False)
    project: str = knob("W&B project", changes_result=False)
    entity: str | None = knob("W&B user or team; null is the login's", changes_result=False)
    folder: str = knob("where offline W&B runs are kept", changes_result=False)


@dataclass
class LoopConfig:
    """Which steps a run makes, measures and saves."""

    steps: int = knob("number of training steps", low=1)
    eval_every: int = knob("steps between two rows of metrics", low=1)
    row_spacing: float | None = knob(
        "most by which early rows are apart, as a share of their step, until eval_every is closer; null adds none", above=0, below=1
    )
    checkpoint_every: int = knob("steps between two checkpoints", low=1, changes_result=False)


@dataclass
class RunConfig:
    """What a run of any kind has; each kind adds its own, and last `wandb`."""

    experiment: str = knob("name of the experiment")
    tier: str = knob("size of the experiment", choices=TIERS)
    arm: str = knob("name of what is compared")
    name: str = knob("last part of the run's address", changes_result=False)
    norm: str = knob("shorthand for network.norm", choices=NORMS)
    seed: int = knob("seed of all that is drawn: initial weights, the order of examples, perturbations, episodes", low=0)
    device: str = knob("torch device")
    threads: int = knob("CPU threads of a run", low=1, changes_result=False)
    results_folder: str = knob("where runs are recorded", changes_result=False)

    @property
    def kind(self) -> str:
        """Name who does the run."""
        raise NotImplementedError

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Return (dataset, folder) of what must be fetched before the run."""
        return ()

    def check_together(self) -> None:
        """Refuse values that are each in their range and do not go together.

        Raises:
            ValueError: one line that names the knob, its value and what it may be.
        """
        raise NotImplementedError

    def shown(self, measure: float) -> str:
        """Write the newest of what the run is to make large."""
        raise NotImplementedError

    def result(self, summary: Mapping[str, Any]) -> str:
        """Say in half a line how the finished run ended."""
        raise NotImplementedError
