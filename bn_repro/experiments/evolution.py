"""A run that evolves policies for an Atari game: emulators, policies and an algorithm, joined from one config."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bn_repro.config.evolution import EvolutionConfig
from bn_repro.evolution.atari import FRAMES_A_DECISION, Emulators, baselines, digest, random_observations
from bn_repro.evolution.diversity import diversity
from bn_repro.evolution.genetic import Genetic
from bn_repro.evolution.noise import Purpose, seed_of
from bn_repro.evolution.play import Episodes, Table, Task
from bn_repro.evolution.policy import Policy, keep_moments
from bn_repro.evolution.population import Population
from bn_repro.evolution.strategies import Strategies
from bn_repro.experiments.run import KeepRow, Poll, Report, carry_out
from bn_repro.norms.virtual_batch_norm import REFERENCE
from bn_repro.records.damage import Damaged
from bn_repro.records.extent import EXTENT_FIELDS, RECORD
from bn_repro.records.reading import with_fields
from bn_repro.records.record import FINISHED
from bn_repro.training.checkpoint import max_bytes_of, step_of
from bn_repro.training.distributed import num_ranks
from bn_repro.training.loop import Interrupted

PARTS = ("emulating", "deciding", "building", "reference")
NORMS_BY_REFERENCE = ("batch", "virtual_batch")


def run(config: EvolutionConfig, report: Report = lambda *_: None, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Do one run of evolution; see `carry_out`."""
    return carry_out(config, Evolution, report, is_stopping)


class Evolution:
    """Evolve policies by the configured algorithm; a step is a generation."""

    first_bad_step: int | None = None  # it cannot diverge: scores are ranked
    status = FINISHED

    def __init__(self, config: EvolutionConfig):
        torch.set_num_threads(config.threads)
        self.config, self.step = config, 0
        self.latest: float | None = None
        self.frames = self.num_episodes = 0  # of all generations, those that choose an elite included
        self.seconds = dict.fromkeys(PARTS, 0.0)  # of the generations that this process played
        self.last: dict[str, float] = {}  # what is recorded of the last generation
        self.measured: dict[str, Any] = {}  # what the last row says of the policy the run has come to
        game, device = config.game, torch.device(config.device)
        self.emulators = Emulators(game.name, config.train.slots, game.noop_max)
        self.policy = Policy(config.network, self.emulators.num_actions).to(device).eval()
        self.max_bytes = max_bytes_of(self.policy)
        self.reference = self.observations(game.reference_size, Purpose.REFERENCE) if config.network.norm in NORMS_BY_REFERENCE else None
        self.states = self.observations(config.probe.states, Purpose.STATES) if config.probe.every else None
        self.x_ref = None if self.reference is None else torch.from_numpy(self.reference).float().to(device) / 255
        x_ref = self.x_ref if config.network.norm == "virtual_batch" else None
        population = Population(self.policy, config.train.slots, x_ref, getattr(torch, config.train.precision), device)
        self.table = Table(population, self.emulators)
        initial = self.policy.initial_genome(seed_of(config.seed, Purpose.INITIAL))
        if config.train.algorithm == "es":
            self.algorithm: Strategies | Genetic = Strategies(initial, config.train, config.seed)
        else:
            self.algorithm = Genetic(self.policy.initial_genome, config.train, config.seed)

    def observations(self, num: int, purpose: Purpose) -> np.ndarray:
        game, seed = self.config.game, seed_of(self.config.seed, purpose)
        return random_observations(self.emulators.each[0], num, game.reference_share, game.max_decisions, seed)

    def as_plain(self) -> dict[str, Any]:
        counted = {"step": self.step, "frames": self.frames, "num_episodes": self.num_episodes, "last": self.last}
        return counted | {"algorithm": self.algorithm.as_plain()}

    def check_fits(self, path: Path, plain: Any) -> None:
        try:
            with_fields(plain[RECORD], EXTENT_FIELDS)
            counted = with_fields(plain, {"step": int, "frames": int, "num_episodes": int, "last": dict})
            is_fit = counted["step"] == step_of(path) and self.algorithm.fits(plain["algorithm"])
        except (KeyError, TypeError, AttributeError, ValueError):
            is_fit = False
        if not is_fit:
            raise Damaged(path, "it is no state of this evolution")

    def restore(self, plain: dict[str, Any]) -> None:
        self.step, self.frames, self.num_episodes, self.last = (plain[name] for name in ("step", "frames", "num_episodes", "last"))
        self.algorithm.restore(plain["algorithm"])

    def conditions(self) -> dict[str, Any]:
        return {"num_ranks": num_ranks(), "reference_digest": None if self.reference is None else digest(self.reference)}

    def go(self, keep_row: KeepRow, save: Poll, poll: Poll) -> None:
        train, start = self.config.train, self.step
        try:
            while True:
                if self.step > start and self.step % train.checkpoint_every == 0:
                    save()
                if self.step % train.eval_every == 0 or self.step == train.steps:
                    keep_row(*self.row(poll))
                if self.step == train.steps:
                    return
                poll()
                self.take_step(poll)
        except Interrupted:
            save()
            raise

    def take_step(self, poll: Poll) -> None:
        """Play and select one generation."""
        self.keep_moments_of_parent()
        before = dict(self.table.population.seconds)

        def play(tasks: Sequence[Task]) -> Episodes:
            return self.table.play(tasks, self.config.game.max_decisions, poll)

        played = self.algorithm.generation(self.step, play)
        for part in PARTS:
            self.seconds[part] += self.table.population.seconds[part] - before.get(part, 0.0)
        population = played[0]
        self.frames += FRAMES_A_DECISION * int(sum(episodes.decisions.sum() for episodes in played))
        self.num_episodes += sum(len(episodes.scores) for episodes in played)
        self.last = {
            "population_score": float(population.scores.mean()),
            "population_best": float(population.scores.max()),
            "population_std": float(population.scores.std()),
            "population_decisions": float(population.decisions.mean()),
        }
        self.step += 1

    def keep_moments_of_parent(self) -> None:
        if self.config.network.norm == "batch":
            assert self.x_ref is not None
            keep_moments(self.policy.express(self.algorithm.best.clone().to(self.x_ref.device)), self.x_ref)

    def row(self, poll: Poll) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
        """Measure the policy that the run has come to and, where it is due, how its perturbations differ."""
        config, train = self.config, self.config.train
        self.keep_moments_of_parent()
        best = self.algorithm.best.clone()
        num = train.final_episodes if self.step == train.steps else train.eval_episodes
        tasks = [Task(("score", self.step), lambda: best, seed_of(config.seed, Purpose.SCORE, number)) for number in range(num)]
        episodes = self.table.play(tasks, config.game.max_decisions, poll)
        score = self.latest = float(episodes.scores.mean())
        self.measured = {"score": score, "scores": episodes.scores.tolist(), "actions": episodes.actions.sum(0).tolist()}
        row = {"step": self.step, "frames": self.frames, "episodes": self.num_episodes, "score": score, **self.last}
        row |= {"score_decisions": float(episodes.decisions.mean()), **self.algorithm.described()}
        if not config.probe.every or (self.step % config.probe.every and self.step != train.steps):
            return row, None
        assert self.states is not None
        measures, arrays = diversity(self.policy, self.table, best, self.states, config.probe, config.seed, poll)
        return row | measures, arrays

    def final(self, poll: Poll) -> tuple[dict[str, Any], None]:
        config = self.config
        measures = {"num_parameters": self.policy.genome_size, "frames": self.frames, "episodes": self.num_episodes, **self.measured}
        measures |= self.algorithm.ended()
        if config.train.baseline_episodes:
            poll()
            seed = seed_of(config.seed, Purpose.BASELINE)
            measures |= baselines(self.emulators.each[0], config.train.baseline_episodes, config.game.max_decisions, seed)
        return measures | {"seconds_by_part": {part: round(seconds, 1) for part, seconds in self.seconds.items()}}, None

    def weights(self) -> dict[str, Tensor]:
        weights = dict(self.policy.express(self.algorithm.best.clone()).state_dict())
        return weights if self.reference is None else weights | {REFERENCE: torch.from_numpy(self.reference)}
