"""Do the costs of a step come out of made-up runs as worked by hand, beside BN's?"""

import pytest
from made_up_costs import write_costs

from bn_repro.studies.step_cost import STUDY, table_of_norms
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_REPRODUCED, NOT_RUN, REPRODUCED

SEEDS, CONTROLS = range(200, 205), range(210, 215)
LAYER, GOLDBERG = "step-cost-backward-layer", "step-cost-backward-goldberg"


def answers_of(root):
    return {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}


@pytest.fixture
def root(tmp_path):
    for arm, backward, seeds in (("none", 1, (*SEEDS, *CONTROLS)), ("batch", 2, SEEDS), ("layer", 3, SEEDS), ("goldberg", 1.5, SEEDS)):
        for seed in seeds:
            wobble = 1 + 0.01 * (seed * 7 % 3) * (1 if arm == "layer" else -1)
            address = f"step_cost/long/{arm}-s{seed}"
            write_costs(tmp_path, address, forward=5, backward=backward * wobble, step=7, memory=9)
    return tmp_path


def test_a_backward_pass_is_judged_beside_bns(root):
    answers = answers_of(root)
    assert answers[LAYER].estimate == pytest.approx(1.5, rel=0.03)
    assert answers[LAYER].verdict == REPRODUCED and answers[GOLDBERG].verdict == NOT_REPRODUCED
    assert all(answer.control_verdict != REPRODUCED for answer in answers.values())
    assert "1.53" in STUDY.in_words(answers)


def test_the_table_has_each_measure_in_its_column(root):
    headers, *rows = table_of_norms(root, "long").content
    assert [row[0] for row in rows] == ["no norm", "BN", "layer norm", "Goldberg's layer norm"]
    assert headers[1:5] == tuple(f"{what}, x no norm's" for what in ("forward", "backward", "both", "memory between them"))
    assert (rows[1][1], rows[1][3], rows[1][4]) == ("5 [5, 5]", "7 [7, 7]", "9 [9, 9]") and rows[1][2].startswith("1.98 [")
    assert [row[-1] for row in rows] == ["10", "5", "5", "5"]


def test_without_runs_nothing_is_said(tmp_path):
    answers = answers_of(tmp_path)
    assert all(answer.verdict == NOT_RUN for answer in answers.values()) and STUDY.in_words(answers) == ""
    assert table_of_norms(tmp_path, "long") is None


def test_one_claims_runs_are_not_denied(tmp_path):
    for seed in SEEDS:
        write_costs(tmp_path, f"step_cost/long/batch-s{seed}", backward=2)
        write_costs(tmp_path, f"step_cost/long/layer-s{seed}", backward=3)
    answers = answers_of(tmp_path)
    assert answers[GOLDBERG].verdict == NOT_RUN and "1.5 [1.5, 1.5] times (n = 5)" in STUDY.in_words(answers)


def test_a_run_that_timed_no_step_is_left_out(root):
    write_costs(root, "step_cost/long/batch-s205", is_timed=False)
    write_costs(root, "step_cost/long/layer-s205", backward=3)
    assert answers_of(root)[LAYER].n == 5
    assert [row[-1] for row in table_of_norms(root, "long").content[1:]] == ["10", "5", "6", "5"]


def test_one_seed_has_no_upper_bound(tmp_path):
    write_costs(tmp_path, "step_cost/long/batch-s200", backward=2)
    assert table_of_norms(tmp_path, "long").content[1][2] == "2 [0, ∞]"
