"""Do the costs of a step come out of made-up runs as worked by hand, beside BN's?"""

import pytest
from made_up_costs import write_costs

from bn_repro.studies.step_cost import STUDY, table_of_norms
from bn_repro.studies.study import NO_RUNS
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_REPRODUCED, NOT_RUN, REPRODUCED

SEEDS, CONTROLS = range(200, 205), range(210, 215)


def answers_of(root):
    return {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}


def test_a_backward_pass_is_judged_beside_bns(tmp_path):
    assert table_of_norms(tmp_path, "long") is None
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
    assert [row[0] for row in rows] == ["BN", "layer norm", "Goldberg's layer norm"]
    assert all(len(row) == len(headers) for row in rows)
    assert rows[0][1] == "1 [1, 1]" and rows[0][2].startswith("1.98 [") and rows[0][-1] == "5"
