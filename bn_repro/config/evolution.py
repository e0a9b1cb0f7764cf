"""The knobs of evolution: a game of Atari, a policy, evolution strategies or the deep genetic algorithm, and how diversity is measured."""

from dataclasses import dataclass

from bn_repro.config import LARGEST_RATE, MOST, PRECISIONS, RunConfig, WandbConfig, knob, knobs

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
    max_decisions: int = knob("decisions, of 4 frames each, after which an episode is cut", low=1, high=MOST, unit="decisions")
    noop_max: int = knob("most frames without action that an episode starts with; at least 1", low=1, high=10_000, unit="frames")
    reference_size: int = knob(
        "observations of random play that are the reference batch of a norm", low=2, high=100_000, unit="observations"
    )
    reference_share: float = knob("share of random play's observations that are kept for it; 1 keeps consecutive ones", above=0, high=1)


@dataclass
class PolicyConfig:
    name: str = knob("architecture", choices=POLICIES)
    norm: str = knob("what stands before every nonlinearity", choices=POLICY_NORMS)
    norm_eps: float = knob("epsilon added to the variance", above=0)
    has_gamma: bool = knob("give the norms a scale beside their shift")
    output_std: float = knob(
        "standard deviation of the initial output weights, times the square root of their inputs' number", above=0, high=LARGEST_RATE
    )


@dataclass
class EvolutionTrainConfig:
    steps: int = knob("number of generations; 0 only measures the initial policy", low=0, high=MOST, unit="generations")
    eval_every: int = knob("generations between two rows of metrics", low=1, high=MOST, unit="generations")
    checkpoint_every: int = knob("generations between two checkpoints", low=1, high=MOST, unit="generations", changes_result=False)
    algorithm: str = knob("evolution strategies or genetic algorithm", choices=ALGORITHMS)
    population: int = knob("policies of a generation, on all ranks together", low=2, high=1_000_000, unit="policies")
    sigma: float = knob("standard deviation of a perturbation", above=0, high=LARGEST_RATE)
    lr: float | None = knob("learning rate of Adam, of es; null of ga", above=0, high=LARGEST_RATE)
    weight_decay: float | None = knob("L2 coefficient, of es; null of ga", low=0, high=LARGEST_RATE)
    truncation: int | None = knob(
        "best policies that are the parents of the next generation, of ga; null of es", low=1, high=1_000_000, unit="policies"
    )
    elite_candidates: int | None = knob(
        "best policies that play again for the place of the elite, of ga; null of es", low=1, high=1_000_000, unit="policies"
    )
    elite_episodes: int | None = knob("episodes that each of those plays; null of es", low=1, high=MOST, unit="episodes")
    precision: str = knob("number format in which policies decide; parameters stay float32", choices=PRECISIONS)
    slots: int = knob("policies that play at once in a process", low=1, high=10_000, unit="policies")
    eval_episodes: int = knob("episodes of a row's score", low=1, high=MOST, unit="episodes")
    final_episodes: int = knob("episodes of the last row's score", low=1, high=MOST, unit="episodes")
    baseline_episodes: int = knob(
        "episodes of random play and of every constant action, once; 0 plays none", low=0, high=MOST, unit="episodes"
    )


@dataclass
class DiversityConfig:
    every: int = knob(
        "generations between two measurements of how policies perturbed from the parent differ; 0 makes none",
        low=0,
        high=MOST,
        unit="generations",
    )
    policies: int = knob("perturbed policies of a measurement", low=2, high=1_000_000, unit="policies")
    sigmas: list[float] = knob("standard deviations of the perturbations, each measured", above=0, high=LARGEST_RATE)
    states: int = knob("observations of random play on which all decide", low=2, high=100_000, unit="observations")
    max_decisions: int = knob("decisions after which an episode of theirs is cut", low=1, high=MOST, unit="decisions")


@dataclass
class EvolutionConfig(RunConfig):
    """A run that evolves policies for a game."""

    game: GameConfig = knobs()
    network: PolicyConfig = knobs()
    train: EvolutionTrainConfig = knobs()
    probe: DiversityConfig = knobs()
    wandb: WandbConfig = knobs()

    @property
    def kind(self) -> str:
        return "evolution"

    @property
    def extra(self) -> tuple[str, str]:
        return "ale_py", "atari"

    def written(self, measure: float) -> str:
        return f"score {measure:.1f}"
