"""Which runs depth and saturation are asked of, and what one says of saturation."""

import re
from pathlib import Path

import numpy as np

from bn_repro.measures.contrasts import Pairs, difference
from bn_repro.records.record import Run
from bn_repro.verdicts.selection import NAME, Map, complete_by_seed, named_runs
from bn_repro.verdicts.statistics import Mean

NONLINEARITIES = ("sigmoid", "tanh")
GOLDBERG = "normalized_tanh"  # stands among the tanh
DEPTHS = (3, 10, 20)
OF_NONLINEARITY = r"(,network\.nonlinearity=\w+)?"
CELL_NAME = re.compile(rf"{NAME.pattern},network\.depth=\d+,network\.init_std=(?P<std>[^,]+){OF_NONLINEARITY},train\.lr=(?P<lr>[^,]+)")
SATURATION_NAME = re.compile(NAME.pattern + OF_NONLINEARITY)


def has_nonlinearity(run: Run, name: str) -> bool:
    return run.config["network.nonlinearity"] in ((name, GOLDBERG) if name == "tanh" else (name,))


def cells_of(nonlinearity: str, depth: int, root: Path, arm: str, tier: str) -> dict[int, Map]:
    """Return by seed an arm's runs of one nonlinearity and depth, at each learning rate and deviation; of seeds that have all points."""
    named = named_runs(root, arm, tier, CELL_NAME)
    of_cell = [found for found in named if found[1].config["network.depth"] == depth and has_nonlinearity(found[1], nonlinearity)]
    return complete_by_seed(of_cell, lambda name: (float(name["lr"]), float(name["std"])))


def saturating_runs(nonlinearity: str, root: Path, arm: str, tier: str) -> dict[int, Run]:
    """Return by seed an arm's runs of one nonlinearity from initial weights that saturate it."""
    named = named_runs(root, arm, tier, SATURATION_NAME)
    return dict(sorted((int(name["seed"]), run) for name, run in named if has_nonlinearity(run, nonlinearity)))


def saturated_by_layer(run: Run) -> np.ndarray:
    """Return (layers,): the share of each layer's inputs of nonlinearities that lie where these are flat, at the end of training."""
    return np.array([run.activations[f"hidden.{layer}/after_norm/saturated"][-1] for layer in range(run.config["network.depth"])])


def saturated_share(run: Run) -> float:
    return float(saturated_by_layer(run).mean())


def less_saturated(pairs: Pairs) -> Mean:
    """Return by how much the subject's saturated share is lower."""
    return difference(lambda run: -saturated_share(run))(pairs)
