"""Do the claims of batch sizes say what made-up runs mean, and does their figure draw?"""

import math

import pytest
from made_up_records import ENVIRONMENT

from bn_repro.figures.style import as_svg
from bn_repro.launcher.grids import configs_of
from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter
from bn_repro.studies.batch_size import INCEPTION, MLP, NORMS, SIZED_NAME, STUDY, best_rate, ratio_of_best_rates, sweeps_of_size
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_REPRODUCED, NOT_RUN, REPRODUCED

SEEDS, CONTROLS = range(220, 226), range(230, 235)
RATES = (0.25, 1, 4, 16, 64)


def write_run(root, norm, seed, size, lr, accuracy):
    writer = RunWriter(root / f"batch_size/long/{norm}-s{seed},train.batch_size={size},train.lr={lr:g},train.steps=100")
    writer.begin({"data": {"name": "mnist"}, "train": {"steps": 100}}, ENVIRONMENT)
    writer.append({"step": 0, "accuracy": 0.1})
    writer.finish({"status": FINISHED, "accuracy": accuracy, "steps": 100})
    writer.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write runs in which BN gains five points, but loses five in batches of 2; it likes 4 times the rate in batches of 256."""
    root = tmp_path_factory.mktemp("runs")
    for size in MLP.sizes:
        for norm, seeds in [*((norm, SEEDS) for _, norm in NORMS), ("none", CONTROLS)]:
            best = 16 if norm == "batch" and size == 256 else 4
            for seed in seeds:
                for lr in RATES:
                    gain = (-0.05 if size == 2 else 0.05) if norm == "batch" else 0
                    wobble = 0.001 * (seed * (7 if seeds is SEEDS else 5) % 3)
                    write_run(root, norm, seed, size, lr, 0.9 + gain - 0.005 * math.log2(lr / best) ** 2 + wobble)
    return root


def test_a_best_rate_is_the_top_of_a_parabola(root):
    sweep = sweeps_of_size(256, root, "batch_size/batch", "long")[220]
    assert sorted(sweep) == list(RATES) and best_rate(sweep) == pytest.approx((16, 16))
    assert best_rate({lr: run for lr, run in sweep.items() if lr <= 16}) == (16, math.inf)
    assert best_rate({lr: run for lr, run in sweep.items() if lr >= 16}) == (0, 16)
    moved = {lr * 2**0.5: run for lr, run in sweep.items()}
    assert best_rate(moved) == pytest.approx((16 * 2**0.5,) * 2)
    lopsided = {1: sweep[0.25], 4: sweep[16], 16: sweep[4]}  # 0.95 - 0.18, 0.95, 0.95 - 0.02: the top is nearer to 16
    assert best_rate(lopsided)[0] == pytest.approx(4 * 4 ** ((0.18 - 0.02) / (2 * (0.18 + 0.02))))


def test_a_ratio_is_open_where_a_grid_ends(root):
    sweep = sweeps_of_size(256, root, "batch_size/batch", "long")[220]
    ending = {lr: run for lr, run in sweep.items() if lr <= 16}
    assert ratio_of_best_rates([(sweep, ending)]).lows == pytest.approx([1]) and ratio_of_best_rates([(sweep, ending)]).highs == [math.inf]
    assert ratio_of_best_rates([(ending, sweep)]).lows == [0] and ratio_of_best_rates([(ending, sweep)]).highs == pytest.approx([1])


def test_claims_say_what_the_runs_mean(root):
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    expected = {"2-group": 5, "lost": 10, "8-rate": 1, "256-rate": 4, "8-gain": 5, "32-gain": 5, "256-gain": 5}
    for name, estimate in expected.items():
        answer = answers[f"batch-size-{name}"]
        assert answer.estimate == pytest.approx(estimate, rel=0.01) and answer.verdict == REPRODUCED, name
    assert {answers[f"batch-size-{size}-gain"].control_verdict for size in (8, 32, 256)} <= {NOT_REPRODUCED, "INCONCLUSIVE"}
    assert STUDY.in_words(answers).startswith("BN gains 5")


@pytest.mark.parametrize("subject, tier", [(MLP, "long"), (INCEPTION, "gpu")])
def test_the_grid_is_what_the_study_reads(subject, tier):
    configs = configs_of(f"{subject.experiment}/{tier}")
    names = [SIZED_NAME.fullmatch(config.name) for config in configs]
    assert all(names) and {int(name["size"]) for name in names} == set(subject.sizes)
    assert {config.train.steps * config.train.batch_size for config in configs} == {subject.num_images}
    for size in subject.sizes:
        rates = sorted({float(name["lr"]) for name in names if int(name["size"]) == size})
        assert [rate / rates[0] for rate in rates] == [1, 4, 16, 64, 256]


def test_nothing_is_said_without_runs(tmp_path):
    answers = {answer.id: answer for answer in judge_all(tmp_path, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {NOT_RUN} and STUDY.in_words(answers) == ""


def test_the_figure_draws(root):
    figure, _ = STUDY.figures
    found = figure.draw(root, "long")
    assert found is not None and found.note == "n = 6."
    assert as_svg(found.content, figure.name).startswith(b"<?xml")
    assert figure.draw(root, "quick") is None
