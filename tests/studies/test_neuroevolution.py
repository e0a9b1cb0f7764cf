"""Do the claims of the study of evolution say what made-up runs mean, and do its figures draw?"""

import numpy as np
import pytest
from made_up_records import ENVIRONMENT
from scipy import stats

from bn_repro.figures.style import as_svg
from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter
from bn_repro.studies.neuroevolution import STUDY
from bn_repro.studies.neuroevolution.measures import (
    PUBLISHED,
    interquartile_interval,
    interquartile_mean,
    normalized,
    over_games,
    reference_share,
)
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_RUN, REPRODUCED
from bn_repro.verdicts.selection import games_of

GAMES = ("breakout", "freeway", "frostbite", "kangaroo", "pong")
NUM_POLICIES, NUM_ACTIONS = 6, 4


def write_run(root, address, single_action, seed, scores=(0.0, 1.0), summary=None):
    """Write a run whose perturbations take one action only so often, at both sigmas of the study and at 0."""
    wobble = 0.01 * (seed % 3)
    writer = RunWriter(root / address)
    writer.begin({"game": {"reference_size": 128}, "probe": {"every": 1, "sigmas": [0.005, 0.02]}}, ENVIRONMENT)
    for step, score in enumerate(scores):
        of_sigma = {"entropy": 1 - single_action, "score": score, "single_action": single_action}
        of_sigma |= {"disagreement": 0.5 + wobble, "gradient_agreement": 0.9 - single_action / 2 + wobble}
        of_sigma |= {"episode_single_action": single_action - wobble, "episode_entropy": 1 - single_action + wobble}
        of_sigma |= {"changed": 0.4, "score_std": 2.0}
        measures = {f"diversity/sigma_{sigma}/{name}": value for sigma in ("0.005", "0.02") for name, value in of_sigma.items()}
        measures |= {"diversity/sigma_0/episode_single_action": single_action / 2, "diversity/sigma_0/episode_entropy": 0.5}
        writer.append({"step": step, "frames": 1000 * step, "score": score, "population_decisions": 300.0, **measures})
        actions = np.zeros((NUM_POLICIES, NUM_ACTIONS), np.int32)
        actions[:, seed % NUM_ACTIONS] = 10
        writer.append_activations(step, {"sigma_0.02/episode_actions": actions, "states/frames": np.zeros((6, 84, 84), np.uint8)})
    given = {
        "score": scores[-1],
        "frames": 1000 * (len(scores) - 1),
        "seconds": 100.0,
        "seconds_by_part": {"reference": 3.0, "emulating": 57.0},
    }
    writer.finish({"status": FINISHED, "first_bad_step": None, **given, **(summary or {})})
    writer.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write a tier in which VBN alone keeps policies diverse and lets ES learn, and the GA needs it not."""
    root = tmp_path_factory.mktemp("runs")
    for game in GAMES:
        low, high = PUBLISHED[game]
        for seed in range(6):
            for norm, share in (("none", 0.97), ("virtual_batch", 0.02), ("layer", 0.5)):
                write_run(root, f"policy_diversity/long/{norm}-s{seed},game.name={game}", share, seed)
            write_run(root, f"policy_diversity/long/none-s{seed + 10},game.name={game}", 0.97, seed + 1)
            write_run(root, f"policy_diversity/long/ga_initial-s{seed},game.name={game}", 0.1, seed)
            learned = low + (0.5 + 0.02 * (seed % 3)) * (high - low)
            for arm, share, last in (("es_none", 0.97, low), ("es_virtual_batch", 0.02, learned), ("ga_none", 0.1, learned)):
                write_run(root, f"evolution_curves/long/{arm}-s{seed},game.name={game}", share, seed, (low, last))
        baselines = {"random_score": low, "constant_score": low + 1, "constant_action": 2}
        write_run(root, f"evolution_curves/long/baselines-s9,game.name={game}", 0.5, 9, (low,), baselines)
    return root


def test_claims_say_what_the_runs_mean(root):
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {REPRODUCED}
    assert {id for id, answer in answers.items() if answer.n != 6} == {"es-one-action-without", "es-one-action-by-perturbing"}  # 12
    assert answers["es-one-action-by-perturbing"].estimate == pytest.approx(0.97 / 2, abs=0.01)
    assert answers["ga-one-action"].estimate == pytest.approx(0.1, abs=0.011)
    assert answers["vbn-fewer-one-action"].control_verdict != REPRODUCED
    assert answers["es-vbn-score"].estimate == pytest.approx(0.52, abs=0.01)
    said = STUDY.in_words(answers)
    assert "0.96" in said and "with VBN" in said and "published frames" in said


@pytest.mark.parametrize("num_games", [2, 3])
def test_few_games_tell_norms_apart_at_most(tmp_path, num_games):
    for game in GAMES[:num_games]:
        for seed in range(5):
            for norm, share in (("none", 0.97), ("virtual_batch", 0.02)):
                write_run(tmp_path, f"policy_diversity/quick/{norm}-s{seed},game.name={game}", share, seed)
    answers = {answer.id: answer for answer in judge_all(tmp_path, "quick", STUDY.claims)}
    judged = {id for id, answer in answers.items() if answer.verdict != NOT_RUN}
    assert judged == ({"vbn-fewer-one-action", "vbn-entropy", "vbn-gradient"} if num_games == 3 else set())
    if judged:
        assert "0.95" in STUDY.in_words(answers) and "not run" not in STUDY.in_words(answers)


def test_games_that_differ_widen_an_interval_by_their_own_degrees_of_freedom(root):
    selected = games_of(root, "policy_diversity/none", "long")
    pairs = [(games, games) for games in selected.values()]
    sample = over_games(lambda _, games, game: float(len(game)))(pairs)  # 8, 7, 9, 8 and 4 letters, in every seed
    assert sample.value == pytest.approx(7.2) and sample.freedom_besides == 4
    assert sample.high == pytest.approx(7.2 + stats.t.ppf(0.975, 4) * (3.7 / 5) ** 0.5)


def test_the_reference_pass_is_a_share_of_the_generations(root):
    run = games_of(root, "evolution_curves/es_virtual_batch", "long")[0]["freeway"]
    assert reference_share(run) == 5


def test_figures_draw(root):
    for figure in STUDY.figures:
        found = figure.draw(root, "long")
        assert found is not None and found.runs, figure.name
        if not isinstance(found.content, tuple):
            assert as_svg(found.content, figure.name).startswith(b"<?xml")
        else:
            assert len({len(row) for row in found.content}) == 1 and len(found.content) >= 2, figure.name
        assert figure.draw(root, "quick") is None


def test_normalized_and_interquartile():
    assert normalized(31.0, "freeway") == 1 and normalized(65.2, "frostbite") == 0
    assert interquartile_mean(np.array([[100.0, 1], [2, 3], [2, -50], [3, 2]])) == pytest.approx((2 + 2 + 2 + 3) / 4)
    table = np.random.default_rng(0).normal(size=(6, 3)) + np.array([0, 5, 10])
    mean, low, high = interquartile_interval(table)
    assert low < mean < high and high - low < 3 and interquartile_interval(table) == (mean, low, high)
