"""Is time to a target its steps by what a step takes, worked by hand on made-up runs?"""

import pytest
from made_up_costs import write_costs
from made_up_trainings import rising, write_training

from bn_repro.studies.inception.times import table_of_times

SEEDS = range(200, 205)


def test_time_is_steps_by_what_a_step_takes(tmp_path):
    """Twice as few steps, each of which takes a quarter longer."""
    assert table_of_times(tmp_path, "long") is None
    for seed in SEEDS:
        write_training(tmp_path, f"inception/long/inception-s{seed}", rising(0.9, 40))
        write_training(tmp_path, f"inception/long/bn_x5-s{seed}", rising(0.9, 20))
        write_costs(tmp_path, f"step_cost_inception/long/inception-s{seed}", step=1.2)
        write_costs(tmp_path, f"step_cost_inception/long/bn_x5-s{seed}", step=1.5)
    drawn = table_of_times(tmp_path, "long")
    _, row = drawn.content
    fewer = float(row[2].split()[0])
    assert row[:2] == ("best rate without BN", "BN-x5") and row[3].startswith("1.25 [") and row[5] == "5"
    assert fewer == pytest.approx(2, abs=0.2) and float(row[4].split()[0]) == pytest.approx(fewer / 1.25, rel=0.01)
    assert len(drawn.runs) == 4 * len(SEEDS)


def test_an_arm_that_never_arrives_has_a_bound_alone(tmp_path):
    for seed in SEEDS:
        write_training(tmp_path, f"inception/long/inception-s{seed}", rising(0.9, 40))
        write_training(tmp_path, f"inception/long/bn_x30-s{seed}", rising(0.2, 20))
        for arm in ("inception", "bn_x30"):
            write_costs(tmp_path, f"step_cost_inception/long/{arm}-s{seed}")
    _, row = table_of_times(tmp_path, "long").content
    assert row[2] == row[4] == "at most 0.385"  # as in a claim's row
