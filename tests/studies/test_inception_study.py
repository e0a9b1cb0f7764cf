"""Are the two readings of the decay those that are declared, and does Figure 3 come out of made-up runs as worked by hand?"""

import math
from functools import partial

import numpy as np
import pytest
from made_up_trainings import ROWS, rising, write_training

from bn_repro.launcher.grids import configs_of
from bn_repro.measures.accuracy import last_step
from bn_repro.records.record import Run
from bn_repro.studies import inception
from bn_repro.studies.inception.figures import curve, figure_2, figure_3, speedup_by_rate, speedup_by_target
from bn_repro.studies.inception.measures import FIGURE_3, TUNED, lowest_peak, speedup_at, speedup_to_target
from bn_repro.training.schedule import lr_at
from bn_repro.verdicts.judging import judge_all

PAPERS_STEPS = {arm: steps for arm, _, steps, _ in FIGURE_3}


@pytest.fixture
def make(tmp_path):
    def make(name, accuracies, has_diverged=False, experiment="inception", **more):
        address = f"{experiment}/long/{name}"
        write_training(tmp_path, address, accuracies, has_diverged, **more)
        return Run(tmp_path / address)

    return make


def in_experiment(name):
    return {config.arm: config for config in configs_of(name, ())}


@pytest.mark.parametrize("experiment", ["inception/long", "inception_paper_rate/long", "inception_xavier/long", "inception/gpu"])
def test_a_decay_6_times_faster_crosses_the_plain_networks_rate_later_than_in_the_paper(experiment):
    """BN-x5 arrives at 2.1 of 31 million steps, BN-x30 at 2.7: till then, and here for longer, their rates are above the plain one's."""
    arms = in_experiment(experiment)
    plain = arms["inception"].train
    for arm in {"bn_x5", "bn_x30"} & arms.keys():
        fast = arms[arm].train
        rates = [lr_at(step, fast) / lr_at(step, plain) for step in range(0, plain.steps, 100)]
        crossing = next(number for number, ratio in enumerate(rates) if ratio < 1) / len(rates)
        assert crossing > 2 * PAPERS_STEPS[arm] / PAPERS_STEPS["inception"]
        decay = math.log(lr_at(1_000, fast) / fast.lr) / math.log(lr_at(1_000, plain) / plain.lr)
        assert decay == pytest.approx(6) and fast.steps == plain.steps


def test_each_arm_may_have_a_decay_of_its_own():
    arms, same = in_experiment("inception_own_decay/long"), in_experiment("inception/long")
    for arm, config in arms.items():
        own, literal = config.train, same[arm].train
        assert own.final_lr_ratio in (0.5, 0.1, 0.02) and own.steps == literal.steps
        assert own.lr / arms["inception"].train.lr == pytest.approx(literal.lr / same["inception"].train.lr)


def test_steps_are_counted_to_the_target_of_the_tier(make):
    """Both rise from 10 to 50 % on a line, the subject in half of the rows; smoothing moves both by two rows."""
    pairs = [(make(f"inception-s{seed}", rising(0.5, 40)), make(f"bn_baseline-s{seed}", rising(0.5, 20))) for seed in range(5)]
    measure = speedup_to_target((("long", 30.0), ("quick", 20.0)))
    assert measure(pairs).value == pytest.approx((2_000 + 200) / (1_000 + 200))
    assert speedup_to_target((("quick", 20.0),))(pairs) is None
    assert speedup_at(*map(list, zip(*pairs)), np.array([30.0, 60.0]))[0].tolist() == pytest.approx([22 / 12, np.nan], nan_ok=True)
    assert lowest_peak([subject for _, subject in pairs]) == pytest.approx(50)


def test_a_network_that_reached_infinity_never_arrives(make):
    diverged = make("inception_x5-s0", [0.1, 0.1, 0.1], has_diverged=True)
    assert last_step(diverged) == 6_000
    assert last_step(make("inception_x5-s1", [0.1, 0.1, 0.1])) == 200
    steps, accuracies = curve(diverged, 6_000)
    assert len(steps) == ROWS and steps[-1] == 6_000 and accuracies[-1] == 0.1


def test_each_sentence_stands_alone(make, tmp_path):
    """The quick tier runs the arms with sigmoids and no others."""
    answered = partial(judge_all, tmp_path, "long", inception.STUDY.claims)
    assert inception.STUDY.in_words({answer.id: answer for answer in answered()}) == ""
    for seed in range(5):
        make(f"bn_x5_sigmoid-s{seed}", rising(0.4 + 0.001 * seed, 20))
        make(f"inception_sigmoid-s{seed}", [0.1] * ROWS)
    said = inception.STUDY.in_words({answer.id: answer for answer in answered()})
    assert said.startswith("With sigmoid instead of ReLU, from Xavier's weights, Inception reaches 40.2") and "BN-Baseline" not in said
    for seed in range(5):
        for experiment in ("inception", "inception_paper_rate"):
            make(f"inception-s{seed}", rising(0.6, 40), experiment=experiment)
            make(f"bn_x5-s{seed}", rising(0.6, 20), experiment=experiment)
            make(f"inception_x5-s{seed}", rising(0.6, 30), experiment=experiment)
    said = inception.STUDY.in_words({answer.id: answer for answer in answered()})
    first, second = said.split(". ")[:2]
    assert first.startswith("To 95 % of the plain network's accuracy BN-x5 needs ") and first.count("fewer") == 3
    assert second.startswith("With sigmoid")


def test_the_plain_network_at_a_lower_rate_is_a_sentence_of_its_own(make, tmp_path):
    for seed in range(5):
        make(f"inception-s{seed}", rising(0.5, 40), experiment="inception_xavier")
        make(f"bn_baseline-s{seed}", rising(0.6 + 0.001 * seed, 20), experiment="inception_xavier")
    answered = partial(judge_all, tmp_path, "long", inception.STUDY.claims)
    assert "lower rate" not in inception.STUDY.in_words({answer.id: answer for answer in answered()})
    for seed in range(5):
        make(f"inception-s{seed}", rising(0.55, 40), experiment="inception_xavier_lower")
    said = inception.STUDY.in_words({answer.id: answer for answer in answered()})
    assert ". Than the plain network at the next lower rate it needs " in said
    assert [text.split()[0] for text in said.split("gains ")[1:]] == ["10.2", "5.2"]


def test_figure_3_lists_the_arms_beside_the_paper(make):
    runs = [make(f"inception-s{seed}", rising(0.5, 40)) for seed in range(2)]
    failed = [make("inception_x5-s0", [0.1, 0.1], has_diverged=True)]
    base = TUNED._replace(plateaus=(("long", 40.0),))
    with_bn = [make(f"bn_baseline-s{seed}", rising(0.5, 20)) for seed in range(2)]
    rows = figure_3(base, [("Inception", runs), ("BN-Baseline", with_bn), ("Inception at x5", failed)])
    _, plain, baseline, at_x5 = (dict(zip(rows[0], row)) for row in rows)
    assert plain["steps to the target"] == "3,000 (to 38.0 %)" and plain["final accuracy, %"].startswith("50.0 [50.0, 50.0]")
    assert list(plain.values())[-3:] == ["31 million", "-", "72.2"] and plain["times fewer steps"] == "-"
    assert baseline["times fewer steps"] == "1.88" and baseline["paper: times fewer"] == "2.3"
    assert at_x5["steps to the target"] == "never (to 38.0 %)" and at_x5["final accuracy, %"] == "10.0; 1 of 1 reached infinity"
    assert at_x5["times fewer steps"] == "-"


def test_speed_ups_are_drawn_where_runs_are(make, tmp_path, monkeypatch):
    assert speedup_by_target(tmp_path, "long") is None and speedup_by_rate(tmp_path, "long") is None
    for seed in range(2):
        make(f"inception-s{seed}", rising(0.5, 40), lr=0.01)
        make(f"bn_baseline-s{seed}", rising(0.55, 20), lr=0.01)
        make(f"inception_x5-s{seed}", [0.1, 0.1], has_diverged=True, lr=0.05)
        make(f"bn_x5-s{seed}", rising(0.6, 10), lr=0.05)
        make(f"inception-s{seed}", rising(0.3, 50), experiment="inception_paper_rate", lr=0.0015)
    assert len(speedup_by_target(tmp_path, "long").runs) == 8 and speedup_by_target(tmp_path, "long").note == ""
    for seed, accuracies in ((0, [0.1] * ROWS), (1, rising(0.5, 40)), (2, [0.1] * ROWS)):
        make(f"inception-s{seed}", accuracies, experiment="inception_xavier")
        make(f"bn_baseline-s{seed}", rising(0.6, 20), experiment="inception_xavier")
    drawn = speedup_by_target(tmp_path, "long")
    assert len(drawn.runs) == 10 and drawn.note == "Xavier's initial weights: without 2 seeds whose plain network never reaches 20 %."
    assert len(drawn.content.axes) == 2 and all(len(axis.lines[0].get_xdata()) > 1 for axis in drawn.content.axes)
    monkeypatch.setattr(inception.figures, "TUNED", TUNED._replace(plateaus=(("long", 40.0),)))
    drawn = speedup_by_rate(tmp_path, "long")
    assert len(drawn.runs) == 10
    (axis,) = drawn.content.axes
    assert axis.get_xscale() == "log" and [label.split(";")[0] for label in axis.get_legend_handles_labels()[1]][:1] == ["without BN"]
    assert figure_2([("Inception", [Run(tmp_path / "inception/long/inception-s0")])])
