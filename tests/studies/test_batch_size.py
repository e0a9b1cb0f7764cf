"""Do the claims of batch sizes say what made-up runs mean, and does their figure draw?"""

import math

import pytest
from made_up_records import ENVIRONMENT

from bn_repro.figures.style import as_svg
from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter
from bn_repro.studies.batch_size import NORMS, SIZES, STUDY, bounds_of_best_rate, ratio_of_best_rates, sweeps_of_size
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_REPRODUCED, NOT_RUN, REPRODUCED

SEEDS = range(200, 206)
RATES = (1, 4, 16, 64)


def write_run(root, norm, seed, size, lr, accuracy):
    writer = RunWriter(root / f"batch_size/long/{norm}-s{seed},train.batch_size={size},train.lr={lr},train.steps=100")
    writer.begin({"data": {"name": "mnist"}, "train": {"steps": 100}}, ENVIRONMENT)
    writer.append({"step": 0, "accuracy": 0.1})
    writer.finish({"status": FINISHED, "accuracy": accuracy, "steps": 100})
    writer.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write runs in which BN gains five points, but loses five in batches of 2; it likes 16 times the rate in batches of 256."""
    root = tmp_path_factory.mktemp("runs")
    for size in SIZES:
        for _, norm in NORMS:
            best = 16 if norm == "batch" and size == 256 else 4 if norm == "batch" else 1 if size == 256 else 4
            for seed in SEEDS:
                for lr in RATES:
                    gain = (-0.05 if size == 2 else 0.05) if norm == "batch" else 0
                    accuracy = 0.9 + gain - 0.02 * abs(math.log2(lr / best)) + 0.001 * (seed * 7 % 3)
                    write_run(root, norm, seed, size, lr, accuracy)
    return root


def test_a_best_rate_lies_around_its_point(root):
    sweep = sweeps_of_size(256, root, "batch_size/batch", "long")[200]
    assert sorted(sweep) == list(RATES) and bounds_of_best_rate(sweep) == (8, 32)
    assert bounds_of_best_rate({lr: run for lr, run in sweep.items() if lr <= 16}) == (8, math.inf)
    assert bounds_of_best_rate({lr: run for lr, run in sweep.items() if lr >= 16}) == (0, 32)
    other = sweeps_of_size(8, root, "batch_size/batch", "long")[200]
    ratio = ratio_of_best_rates([(other, sweep)] * 6)
    assert (ratio.low, ratio.high, ratio.value) == (1, 16, 4)


def test_claims_say_what_the_runs_mean(root):
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    assert answers["batch-size-2-gain"].verdict == NOT_REPRODUCED and answers["batch-size-2-gain"].estimate == pytest.approx(-5)
    assert {answer.verdict for id, answer in answers.items() if id != "batch-size-2-gain"} == {REPRODUCED}
    assert answers["batch-size-2-group"].estimate == pytest.approx(5)
    said = STUDY.in_words(answers)
    assert "-5" in said and "in batches of 256" in said


def test_nothing_is_said_without_runs(tmp_path):
    answers = {answer.id: answer for answer in judge_all(tmp_path, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {NOT_RUN} and STUDY.in_words(answers).startswith("There are no runs")


def test_the_figure_draws(root):
    (figure,) = STUDY.figures
    found = figure.draw(root, "long")
    assert found is not None and len(found.runs) == 5 * 4 * 6 * 4
    assert as_svg(found.content, figure.name).startswith(b"<?xml")
    assert figure.draw(root, "quick") is None
