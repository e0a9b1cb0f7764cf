"""What counts as usable and as best of a text classifier's head, against sweeps worked by hand, and what equal heads reproduce."""

import numpy as np
import pytest
from made_up_records import ENVIRONMENT
from made_up_trainings import LEARNING_RATES, write_sweep, write_training

from bn_repro.records.record import FINISHED, Run
from bn_repro.records.writing import RunWriter
from bn_repro.studies.study import Drawn
from bn_repro.studies.text_classifier import STUDY, measures
from bn_repro.studies.text_classifier.figures import FIRST_INPUT, SECOND_INPUT, figure_inputs, steps_in_a_cell
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_RUN, REPRODUCED
from bn_repro.verdicts.selection import sweeps_of

TIER = "long"


def write_arm(root, experiment, norm, seeds, best, usable):
    """Write sweeps whose accuracies are best at the largest of `usable` rates, and diverge beyond."""
    for seed in seeds:
        for rank, lr in enumerate(LEARNING_RATES):
            accuracy = best - 0.02 * (usable - 1 - rank) + 0.004 * ((3 * seed + 1) % 4)
            address = f"{experiment}/{TIER}/{norm}-s{seed},train.lr={lr:g}"
            write_training(root, address, [0.5, min(accuracy, 0.99)] if rank < usable else [0.5, 0.5], has_diverged=rank >= usable, lr=lr)


def write_tier(root, has_bn):
    for experiment in ("text_head", "text_head_100", "text_head_all", "text_fine_tuning", "text_fine_tuning_all"):
        write_arm(root, experiment, "none", range(10), best=0.8, usable=1)
        write_arm(root, experiment, "batch", range(10), *((0.9, 3) if has_bn else (0.8, 1)))
        write_arm(root, experiment, "none", range(10, 16), best=0.8, usable=1)
        for arm in ("head_standardized", "head_long"):
            write_arm(root, experiment, arm, range(10), best=0.8, usable=1)
    for seed in range(10):
        for labels in ("100", "1000", "all"):
            write_training(root, f"text_bag_of_words/{TIER}/words_{labels}-s{seed}", [0.5, 0.85 if has_bn else 0.9])


def test_a_diverged_classifier_counts_as_chance_of_two_labels(tmp_path):
    write_training(tmp_path, "text_head/long/none-s0", [0.5, 0.7], has_diverged=True)
    write_training(tmp_path, "text_head/long/none-s1", [0.5, 0.7])
    assert [measures.accuracy(Run(tmp_path / f"text_head/long/none-s{seed}")) for seed in (0, 1)] == [50, pytest.approx(70)]


def test_the_usable_rates_are_those_halfway_from_chance_to_the_best(tmp_path):
    write_arm(tmp_path, "text_head", "none", [0], best=0.8, usable=2)
    write_arm(tmp_path, "text_head", "batch", [0], best=0.9, usable=3)
    plain, bn = (sweeps_of(tmp_path, f"text_head/{norm}", TIER)[0] for norm in ("none", "batch"))
    assert measures.usable_threshold([plain]) == pytest.approx((50 + 80.4) / 2)
    sample = measures.usable_ratio([(plain, bn)])
    rates = LEARNING_RATES
    assert (sample.lows[0], sample.highs[0]) == pytest.approx((rates[2] / rates[2], rates[3] / rates[1]))


def test_heads_that_have_hardly_learned_leave_the_usable_rates_open(tmp_path):
    write_arm(tmp_path, "text_head", "none", range(6), best=0.58, usable=1)
    write_arm(tmp_path, "text_head", "batch", range(6), best=0.9, usable=3)
    plain, bn = (sweeps_of(tmp_path, f"text_head/{norm}", TIER) for norm in ("none", "batch"))
    assert measures.usable_threshold(list(plain.values())) is None
    sample = measures.usable_ratio([(plain[seed], bn[seed]) for seed in plain])
    assert (sample.low, sample.high) == (0, np.inf)
    answers = {answer.id: answer for answer in judge_all(tmp_path, TIER, STUDY.claims)}
    assert answers["text-rates-1000"].verdict == INCONCLUSIVE and "usable" not in STUDY.in_words(answers)


def test_each_seed_is_judged_at_the_rate_that_is_best_for_the_others(tmp_path):
    write_arm(tmp_path, "text_head", "none", range(3), best=0.8, usable=2)
    chosen = measures.at_best_rate(tmp_path, "text_head/none", TIER)
    assert {seed: run.config["train.lr"] for seed, run in chosen.items()} == dict.fromkeys(range(3), LEARNING_RATES[1])
    write_training(tmp_path, "text_bag_of_words/long/words_100-s4", [0.5, 0.8])
    assert list(measures.at_best_rate(tmp_path, "text_bag_of_words/words_100", TIER)) == [4]


@pytest.mark.parametrize("has_bn", [True, False])
def test_only_a_head_that_gains_reproduces_a_claim(tmp_path, has_bn):
    write_tier(tmp_path, has_bn)
    answers = {answer.id: answer for answer in judge_all(tmp_path, TIER, STUDY.claims)}
    assert NOT_RUN not in {answer.verdict for answer in answers.values()}
    assert {answer.verdict == REPRODUCED for answer in answers.values()} == {has_bn}
    assert REPRODUCED not in {answer.control_verdict for answer in answers.values()}
    assert answers["text-accuracy-all"].estimate == pytest.approx(10 if has_bn else 0, abs=0.5)
    words = STUDY.in_words(answers)
    assert words.count("(n = 10)") == 5 and "not run" not in words


def test_figures_are_drawn_of_what_there_is(tmp_path):
    assert {figure.draw(tmp_path, TIER) for figure in STUDY.figures} == {None}
    write_sweep(tmp_path, f"text_head/{TIER}", "none", 0, usable=2)
    write_sweep(tmp_path, f"text_head/{TIER}", "batch", 0, usable=3)
    drawn = {figure.name: figure.draw(tmp_path, TIER) for figure in STUDY.figures}
    rates, steps = drawn["text-rates"], drawn["text-steps"]
    assert isinstance(rates, Drawn) and len(rates.runs) == 2 * len(LEARNING_RATES)
    assert {name for name, content in drawn.items() if content} == {"text-rates", "text-steps", "text-heads"}
    assert [row[:2] for row in drawn["text-heads"].content[1:]] == [("1,000 labels", label) for label in ("without BN", "with BN")]
    assert isinstance(steps, Drawn) and [run.config["norm"] for run in steps.runs] == ["none", "batch"]
    writer = RunWriter(tmp_path / f"text_language_model/{TIER}/none-s0")
    writer.begin({}, ENVIRONMENT)
    writer.finish({"status": FINISHED, "perplexity": 41.25, "perplexity_trigram": 85.0, "perplexity_unigram": 700.0})
    writer.close()
    assert STUDY.figures[-1].draw(tmp_path, TIER).content[1] == ("AWD-LSTM", "41.2")


def test_steps_are_counted_where_all_arrive():
    class Trained:
        def __init__(self, accuracies):
            self.accuracies = accuracies

        def column(self, name):
            return np.arange(len(self.accuracies)), np.array(self.accuracies)

    assert steps_in_a_cell([Trained([0.5, 0.7]), Trained([0.5, 0.6, 0.9])], 60) == "1.21"  # smoothed: 50, 60 and 50, 55, 66.7
    assert steps_in_a_cell([Trained([0.5, 0.7]), Trained([0.5, 0.5])], 60) == "-"


def test_the_heads_inputs_are_drawn_from_both_arms(tmp_path):
    class Recorded:
        activations = {"step": np.arange(3), **{f"{site}/percentiles": np.zeros((3, 3)) for site in (FIRST_INPUT, SECOND_INPUT)}}

    figure = figure_inputs([("without BN", [Recorded, Recorded]), ("with BN", [Recorded])])
    assert [len(axis.lines) for axis in figure.axes] == [6 + 2, 6]
