"""What the records of a tier have to show: experiments, their arms, layers, percentiles and sections of metrics, and figures."""

from dataclasses import dataclass
from pathlib import Path

from bn_repro.figures.distributions import spread
from bn_repro.measures.drift import INPUTS, layers_at
from bn_repro.records.files import FIGURES
from bn_repro.records.own import is_own
from bn_repro.records.record import experiments_in, find_runs
from bn_repro.verdicts.selection import GAME_NAME, NAME

MAX_LAYERS = 6  # of a deep network, evenly spread


@dataclass(frozen=True)
class Shown:
    """What one experiment has to show.

    Args:
        sections: of the metrics that name theirs, such as `gradient_shift`.
        has_scores: its runs evolve policies, whose scores stand where others have accuracies.
    """

    experiment: str
    arms: tuple[str, ...]
    layers: tuple[str, ...]
    percentiles: tuple[str, ...]
    sections: tuple[str, ...]
    has_biases: bool
    has_scores: bool


@dataclass(frozen=True)
class Contents:
    tier: str
    experiments: tuple[Shown, ...]
    figures: tuple[str, ...]


def contents_of(tier: str, root: Path, report_folder: Path, only_mirrored: bool = True) -> Contents:
    """Read what there is to show from the records under `root` and the figures of their report.

    Args:
        only_mirrored: leave out runs that W&B was not to mirror; published ones are shown whatever their maker mirrored.
    """
    experiments = [shown_in(root, experiment, tier, only_mirrored) for experiment in experiments_in(root, tier)]
    figures = sorted(path.stem for path in (report_folder / FIGURES).glob("*.svg"))
    return Contents(tier, tuple(each for each in experiments if each.arms), tuple(figures))


def shown_in(root: Path, experiment: str, tier: str, only_mirrored: bool) -> Shown:
    """Read one experiment; it has no arms if none of its runs is to be shown. A user's own ablations are not its runs."""
    runs = [
        (NAME.fullmatch(run.name) or GAME_NAME.fullmatch(run.name), run)
        for run in find_runs(root, experiment, tier)
        if not is_own(run.address)
    ]
    named = [(name["arm"], run) for name, run in runs if name]
    mirrored = [(arm, run) for arm, run in named if not only_mirrored or run.config.get("wandb.mode") != "disabled"]
    if not mirrored:
        return Shown(experiment, (), (), (), (), False, False)
    run = mirrored[0][1]
    metrics = {name for row in run.metrics for name in row if "/" in name}
    return Shown(
        experiment,
        tuple(dict.fromkeys(arm for arm, _ in mirrored)),
        tuple(spread(layers_at(run.activations, INPUTS), MAX_LAYERS)),
        tuple(f"p{p:g}" for p in run.config.get("probe.percentiles", ())),
        tuple(sorted({name.split("/")[0] for name in metrics})),
        any(row.get("bias_norm") is not None for row in run.metrics),
        any("score" in row for row in run.metrics),
    )
