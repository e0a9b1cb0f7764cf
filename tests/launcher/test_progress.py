"""Is the time left of a run that of its estimate while it starts, and of its own rate after?"""

import time

import pytest

from bn_repro.launcher.progress import RunProgress


def after(seconds, step, estimate):
    run = RunProgress("a run", estimate)
    run.update(0, 100, "-")
    run.update(step, 100, "-")
    run.started = time.monotonic() - seconds
    return run.seconds_left


def test_a_run_is_starting_until_it_has_steps():
    run = RunProgress("a run", 50.0)
    assert run.cells()[:3] == ["a run", "starting", ""]
    run.update(0, 100, "-")
    assert run.cells()[1] == "0/100"


@pytest.mark.parametrize(
    "seconds, step, estimate, left",
    [
        (0.0, 0, 50.0, 50),  # not begun
        (30.0, 1, 50.0, 49.5),  # one step of 30 s, which is mostly its start
        (30.0, 1, None, 2970),
        (30.0, 60, 50.0, 20),  # its own rate
        (0.0, 0, None, None),
    ],
)
def test_time_left(seconds, step, estimate, left):
    found = after(seconds, step, estimate)
    assert found == (None if left is None else pytest.approx(left, rel=0.01))
