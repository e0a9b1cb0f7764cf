"""Which configs of evolution cannot be meant: an odd mirrored population, knobs of the other algorithm, probes between rows."""

from collections.abc import Iterator
from dataclasses import fields

from bn_repro.checks.values import shown
from bn_repro.config.evolution import POLICY_NORMS, EvolutionConfig

OF_ALGORITHM = {"es": ("lr", "weight_decay"), "ga": ("truncation", "elite_candidates", "elite_episodes")}


def check_together(config: EvolutionConfig) -> None:
    """Refuse values that are each in their range and do not go together.

    Raises:
        ValueError: one line that names the knob, its value and what it may be.
    """
    train, probe = config.train, config.probe
    for algorithm, names in OF_ALGORITHM.items():
        for name in names:
            value = getattr(train, name)
            if train.algorithm == algorithm and value is None:
                raise ValueError(f"train.algorithm={algorithm} needs train.{name}")
            if train.algorithm != algorithm and value is not None:
                raise ValueError(f"train.{name}={shown(value)} has no effect with train.algorithm={train.algorithm}; give null")
    if train.algorithm == "es":
        refuse_odd("train.population", train.population, "es perturbs in mirrored pairs")
    else:
        for name in ("truncation", "elite_candidates"):
            if getattr(train, name) > train.population:
                raise ValueError(f"train.{name}={getattr(train, name)} is more than train.population={train.population}")
        if config.network.norm == "batch":
            others = ", ".join(norm for norm in POLICY_NORMS if norm != "batch")
            raise ValueError(f"network.norm=batch keeps the moments of one parent, and ga has several; choices: {others}")
    if probe.every % train.eval_every:
        raise ValueError(f"probe.every={probe.every} must be a multiple of train.eval_every={train.eval_every}")
    if probe.every:
        refuse_odd("probe.policies", probe.policies, "perturbations are mirrored pairs")
        if not probe.sigmas:
            raise ValueError("probe.sigmas=[] is empty; the public codes' are [0.002,0.005,0.02]")


def refuse_odd(name: str, number: int, why: str) -> None:
    if number % 2:
        raise ValueError(f"{name}={number} is odd, and {why}; did you mean {number + 1}?")


def too_many(config: EvolutionConfig) -> Iterator[tuple[str, str]]:
    """Yield nothing: there is no end of games played."""
    yield from ()


def without_effect(config: EvolutionConfig) -> Iterator[tuple[str, str]]:
    """Yield (knob, with what) of what changes nothing in this config."""
    if config.network.norm == "none":
        yield from ((f"network.{name}", "with norm=none") for name in ("norm_eps", "has_gamma"))
    if config.network.norm not in ("batch", "virtual_batch"):
        yield "game.reference_size", f"with norm={config.network.norm}"
        if not config.probe.every:
            yield "game.reference_share", f"with norm={config.network.norm}"
    if not config.probe.every:
        yield from ((f"probe.{one.name}", "with probe.every=0") for one in fields(config.probe) if one.name != "every")
    if not config.train.steps:
        yield from ((f"train.{name}", "with train.steps=0") for name in ("population", "sigma", "eval_episodes", "checkpoint_every"))
