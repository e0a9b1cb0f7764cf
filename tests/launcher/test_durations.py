"""Is the time left that of the published records at this machine's speed, or of what has ended here?"""

import pytest

from bn_repro.launcher.durations import Durations
from bn_repro.launcher.grids import configs_of
from bn_repro.records.record import address_of

FIRST, SECOND, THIRD = configs_of("mnist_sigmoid/quick")[:3]


def durations(*published):
    return Durations(dict(zip(map(address_of, (FIRST, SECOND, THIRD)), published)))


def test_a_published_time_is_scaled_by_what_ended_here():
    found = durations(10.0, 40.0, 50.0)
    assert found.of(THIRD) == 50
    found.note(FIRST, 30.0)
    assert found.of(THIRD) == pytest.approx(150)
    found.note(SECOND, 20.0)  # long runs weigh more than short ones
    assert found.of(THIRD) == pytest.approx(50)


def test_without_a_record_runs_of_the_experiment_tell():
    found = durations(None, None, None)
    assert found.of(THIRD) is None
    found.note(FIRST, 30.0)
    found.note(SECOND, 20.0)
    assert found.of(THIRD) == pytest.approx(25)


def test_a_published_time_goes_before_those_of_other_runs():
    found = durations(None, 0.0, 50.0)
    found.note(FIRST, 30.0)
    found.note(SECOND, 20.0)
    assert found.of(THIRD) == 50
