"""Do the costs of a step come out of made-up runs as worked by hand: beside BN's, and as time to a target?"""

import pytest
from made_up_records import ENVIRONMENT
from made_up_trainings import rising, write_training

from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter
from bn_repro.studies.step_cost import STUDY, table_of_norms, table_of_times
from bn_repro.studies.study import NO_RUNS
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_REPRODUCED, NOT_RUN, REPRODUCED

SEEDS, CONTROLS = range(200, 205), range(210, 215)


def write_costs(root, address, backward, both=1.0):
    writer = RunWriter(root / address)
    writer.begin({"train": {"steps": 3, "eval_every": 1}}, ENVIRONMENT)
    for step, noise in enumerate((0.9, 1.0, 30.0, None)):  # a median, which one row that was disturbed does not move
        row = {"step": step, "accuracy": 0.1}
        if noise is not None:
            row |= {f"step_cost/{name}": noise for name in ("forward", "memory")}
            row |= {"step_cost/backward": backward * noise, "step_cost/both": both * noise}
        writer.append(row)
    writer.finish({"status": FINISHED, "accuracy": 0.1, "steps": 3})
    writer.close()


def answers_of(root):
    return {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}


def test_a_backward_pass_is_judged_beside_bns(tmp_path):
    assert all(answer.verdict == NOT_RUN for answer in answers_of(tmp_path).values()) and STUDY.in_words(answers_of(tmp_path)) == NO_RUNS
    for arm, backward, seeds in (
        ("none", 1, (*SEEDS, *CONTROLS)), ("batch", 2, SEEDS), ("layer", 3, SEEDS), ("goldberg", 1.5, SEEDS),
    ):  # fmt: skip
        for seed in seeds:
            wobble = 1 + 0.01 * (seed * 7 % 3) * (1 if arm == "layer" else -1)
            write_costs(tmp_path, f"step_cost/long/{arm}-s{seed}", backward * wobble)
    answers = answers_of(tmp_path)
    assert answers["step-cost-backward-layer"].estimate == pytest.approx(1.5, rel=0.03)
    assert answers["step-cost-backward-layer"].verdict == REPRODUCED
    assert answers["step-cost-backward-goldberg"].verdict == NOT_REPRODUCED
    assert all(answer.control_verdict != REPRODUCED for answer in answers.values())
    assert "1.53" in STUDY.in_words(answers)
    headers, *rows = table_of_norms(tmp_path, "long").content
    assert [row[0] for row in rows] == ["no norm", "layer norm", "Goldberg's layer norm"]
    assert all(len(row) == len(headers) for row in rows)
    assert rows[0][1].startswith("1 [") and rows[0][2].startswith("0.5 [")


def test_time_is_steps_by_what_a_step_takes(tmp_path):
    """Twice as few steps, each of which takes a quarter longer."""
    assert table_of_norms(tmp_path, "long") is table_of_times(tmp_path, "long") is None
    for seed in SEEDS:
        write_training(tmp_path, f"inception/long/inception-s{seed}", rising(0.9, 40))
        write_training(tmp_path, f"inception/long/bn_x5-s{seed}", rising(0.9, 20))
        write_costs(tmp_path, f"step_cost_inception/long/inception-s{seed}", 1, both=1.2)
        write_costs(tmp_path, f"step_cost_inception/long/bn_x5-s{seed}", 1, both=1.5)
    drawn = table_of_times(tmp_path, "long")
    _, row = drawn.content
    fewer = float(row[2].split()[0])
    assert row[:2] == ("best rate without BN", "BN-x5") and row[3].startswith("1.25 [") and row[5] == "5"
    assert fewer == pytest.approx(2, abs=0.2) and float(row[4].split()[0]) == pytest.approx(fewer / 1.25, rel=0.01)
    assert len(drawn.runs) == 4 * len(SEEDS)


def test_an_arm_that_does_not_arrive_has_a_bound_alone(tmp_path):
    for seed in SEEDS:
        write_training(tmp_path, f"inception/long/inception-s{seed}", rising(0.9, 40))
        write_training(tmp_path, f"inception/long/bn_x30-s{seed}", rising(0.2, 20))
        for arm in ("inception", "bn_x30"):
            write_costs(tmp_path, f"step_cost_inception/long/{arm}-s{seed}", 1)
    _, row = table_of_times(tmp_path, "long").content
    assert row[2] == row[4] == "at most 0.385"
