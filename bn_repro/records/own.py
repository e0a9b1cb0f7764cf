"""Which runs are a user's own ablations: those that are no point of their experiment's grids, whatever their seed."""

from functools import cache

import yaml

from bn_repro.records.files import SHIPPED

Grid = dict[str, set[str]]  # values by knob, as a run's name spells them


def is_own(address: str) -> bool:
    """Say so of a run's address; of an experiment that has no file, whether the name says more than arm and seed."""
    experiment, tier, name = address.split("/")
    first, *overrides = name.split(",")
    grids = grids_of(experiment, tier)
    return not any(is_point(first.rpartition("-s")[0], overrides, grid) for grid in grids) if grids else bool(overrides)


def is_point(arm: str, overrides: list[str], grid: Grid) -> bool:
    arms = grid.get("arm") or grid.get("norm") or {arm}
    return arm in arms and all(value in grid.get(knob, ()) for knob, _, value in (each.partition("=") for each in overrides))


@cache
def grids_of(experiment: str, tier: str) -> list[Grid]:
    """Return the grids of an experiment's file, the sweep and the controls; none without a file."""
    path = SHIPPED / "configs" / "experiment" / experiment / f"{tier}.yaml"
    if not path.is_file():
        return []
    described = yaml.safe_load(path.read_text())
    grids = [described["hydra"]["sweeper"]["params"], *described.get("controls", [])]
    return [{knob: set(str(values).replace("/", "_").split(",")) for knob, values in grid.items()} for grid in grids]
