"""The knobs of a run that evolves policies for Atari games, by evolution strategies or the deep genetic algorithm."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bn_repro.config import PRECISIONS, LoopConfig, RunConfig, WandbConfig, knob

POLICIES = ("es_policy", "ga_policy")
POLICY_NORMS = ("none", "batch", "virtual_batch", "layer")
ALGORITHMS = ("es", "ga")
GAMES = tuple(
    """alien amidar assault asterix asteroids atlantis bank_heist battle_zone beam_rider berzerk bowling boxing breakout centipede
    chopper_command crazy_climber defender demon_attack double_dunk enduro fishing_derby freeway frostbite gopher gravitar hero
    ice_hockey jamesbond kangaroo krull kung_fu_master montezuma_revenge ms_pacman name_this_game phoenix pitfall pong private_eye
    qbert riverraid road_runner robotank seaquest skiing solaris space_invaders star_gunner surround tennis time_pilot tutankham
    up_n_down venture video_pinball wizard_of_wor yars_revenge zaxxon""".split()
)


@dataclass
class GameConfig:
    name: str = knob("Atari game", choices=GAMES)
    max_decisions: int = knob("decisions, of 4 frames each, after which an episode is cut", low=1)
    noop_max: int = knob("most frames without action that an episode starts with; at least 1", low=1)
    reference_size: int = knob("observations of random play that are the reference batch of a norm", low=2)
    reference_share: float = knob("share of random play's observations that are kept for it; 1 keeps consecutive ones", above=0, high=1)


@dataclass
class PolicyConfig:
    name: str = knob("architecture", choices=POLICIES)
    norm: str = knob("what stands before every nonlinearity", choices=POLICY_NORMS)
    norm_eps: float = knob("epsilon added to the variance", above=0)
    has_gamma: bool = knob("give the norms a scale beside their shift")
    output_std: float = knob("standard deviation of the initial output weights, times the square root of their inputs' number", above=0)


@dataclass
class EvolutionTrainConfig(LoopConfig):
    steps: int = knob("number of generations; 0 only measures the initial policy", low=0)
    algorithm: str = knob("evolution strategies or genetic algorithm", choices=ALGORITHMS)
    population: int = knob("policies of a generation, on all ranks together", low=2)
    sigma: float = knob("standard deviation of a perturbation", above=0)
    lr: float | None = knob("learning rate of Adam, of es; null of ga", above=0)
    weight_decay: float | None = knob("L2 coefficient, of es; null of ga", low=0)
    truncation: int | None = knob("best policies that are the parents of the next generation, of ga; null of es", low=1)
    elite_candidates: int | None = knob("best policies that play again for the place of the elite, of ga; null of es", low=1)
    elite_episodes: int | None = knob("episodes that each of those plays; null of es", low=1)
    precision: str = knob("number format in which policies decide; parameters stay float32", choices=PRECISIONS)
    slots: int = knob("policies that play at once in a process", low=1)
    eval_episodes: int = knob("episodes of a row's score", low=1)
    final_episodes: int = knob("episodes of the last row's score", low=1)
    baseline_episodes: int = knob("episodes of random play and of every constant action, once; 0 plays none", low=0)


@dataclass
class DiversityConfig:
    every: int = knob("generations between two measurements of how policies perturbed from the parent differ; 0 makes none", low=0)
    policies: int = knob("perturbed policies of a measurement", low=2)
    sigmas: list[float] = knob("standard deviations of the perturbations, each measured", above=0)
    states: int = knob("observations of random play on which all decide", low=2)
    max_decisions: int = knob("decisions after which an episode of theirs is cut", low=1)


@dataclass
class EvolutionConfig(RunConfig):
    game: GameConfig = field()
    network: PolicyConfig = field()
    train: EvolutionTrainConfig = field()
    probe: DiversityConfig = field()
    wandb: WandbConfig = field()

    @property
    def kind(self) -> str:
        return "evolution"

    def check_together(self) -> None:
        train, probe = self.train, self.probe
        of_other = {"es": ("truncation", "elite_candidates", "elite_episodes"), "ga": ("lr", "weight_decay")}
        for algorithm, names in of_other.items():
            for name in names:
                if train.algorithm == algorithm and getattr(train, name) is not None:
                    raise ValueError(f"train.{name}={getattr(train, name)} has no effect on train.algorithm={algorithm}; give null")
                if train.algorithm != algorithm and getattr(train, name) is None:
                    raise ValueError(f"train.algorithm={train.algorithm} needs train.{name}")
        if train.algorithm == "es" and train.population % 2:
            near = train.population + 1
            raise ValueError(f"train.population={train.population} is odd, and es perturbs in mirrored pairs; did you mean {near}?")
        for name in ("truncation", "elite_candidates"):
            if train.algorithm == "ga" and getattr(train, name) > train.population:
                raise ValueError(f"train.{name}={getattr(train, name)} is more than train.population={train.population}")
        if train.algorithm == "ga" and self.network.norm == "batch":
            raise ValueError("network.norm=batch keeps the moments of one parent, and ga has several; choices: none, virtual_batch, layer")
        if probe.policies % 2:
            raise ValueError(
                f"probe.policies={probe.policies} is odd, and perturbations are mirrored pairs; did you mean {probe.policies + 1}?"
            )
        if probe.every % train.eval_every:
            raise ValueError(f"probe.every={probe.every} must be a multiple of train.eval_every={train.eval_every}")
        if probe.every and not probe.sigmas:
            raise ValueError("probe.sigmas=[] is empty; the public codes' are [0.002,0.005,0.02]")
        if importlib.util.find_spec("ale_py") is None:
            raise ValueError(f"game.name={self.game.name} needs the extra atari; `pip install 'bn_repro[atari]'` adds it")

    def shown(self, measure: float) -> str:
        return f"score {measure:.1f}"

    def result(self, summary: Mapping[str, Any]) -> str:
        return f"score {summary['score']:.1f} after {summary['frames']:,} frames"
