"""Do the claims of the study of evolution say what made-up runs mean, and do its figures draw?"""

import numpy as np
import pytest
from made_up_records import ENVIRONMENT

from bn_repro.figures.style import as_svg
from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter
from bn_repro.studies.neuroevolution import STUDY
from bn_repro.studies.neuroevolution.measures import PUBLISHED, interquartile_interval, interquartile_mean, normalized
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_REPRODUCED, NOT_RUN, REPRODUCED

GAMES = ("breakout", "freeway", "frostbite")
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
        measures = {f"diversity/sigma_{sigma}/{name}": value for sigma in ("0.005", "0.02") for name, value in of_sigma.items()}
        writer.append({"step": step, "frames": 1000 * step, "score": score, "population_decisions": 300.0, **measures})
        actions = np.zeros((NUM_POLICIES, NUM_ACTIONS), np.int32)
        actions[:, seed % NUM_ACTIONS] = 10
        writer.append_activations(step, {"sigma_0.02/episode_actions": actions, "states/frames": np.zeros((6, 84, 84), np.uint8)})
    given = {"score": scores[-1], "frames": 1000 * (len(scores) - 1), "seconds": 100.0, "seconds_by_part": {"reference": 3.0}}
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
            learned = low + (0.5 + 0.02 * (seed % 3)) * (high - low)
            for arm, share, last in (("es_none", 0.97, low), ("es_virtual_batch", 0.02, learned), ("ga_none", 0.1, learned)):
                write_run(root, f"evolution_curves/long/{arm}-s{seed},game.name={game}", share, seed, (low, last))
        baselines = {"random_score": low, "constant_score": low + 1, "constant_action": 2}
        write_run(root, f"evolution_curves/long/baselines-s9,game.name={game}", 0.5, 9, (low,), baselines)
    return root


def test_claims_say_what_the_runs_mean(root):
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    expected = dict.fromkeys(answers, REPRODUCED) | {"ga-one-action": NOT_REPRODUCED}  # without a norm all take one action here
    assert {id: answer.verdict for id, answer in answers.items()} == expected
    assert all(answer.n == 6 for id, answer in answers.items() if id not in ("es-one-action-without", "ga-one-action", "ga-disagreement"))
    assert answers["vbn-fewer-one-action"].control_verdict != REPRODUCED
    assert answers["es-vbn-score"].estimate == pytest.approx(0.52, abs=0.01)
    said = STUDY.in_words(answers)
    assert "0.96" in said and "with VBN" in said and "published frames" in said


def test_two_games_tell_norms_apart_but_say_no_share(tmp_path):
    for game in GAMES[:2]:
        for seed in range(5):
            for norm, share in (("none", 0.97), ("virtual_batch", 0.02)):
                write_run(tmp_path, f"policy_diversity/quick/{norm}-s{seed},game.name={game}", share, seed)
    answers = {answer.id: answer for answer in judge_all(tmp_path, "quick", STUDY.claims)}
    assert answers["es-one-action-without"].verdict == answers["ga-one-action"].verdict == NOT_RUN
    assert answers["vbn-fewer-one-action"].verdict == REPRODUCED
    assert "0.95" in STUDY.in_words(answers) and "not run" not in STUDY.in_words(answers)


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
