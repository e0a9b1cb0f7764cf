"""Are the points of an experiment's own grids told from a user's ablations of it?"""

import pytest

from bn_repro.launcher.grids import configs_of
from bn_repro.records.own import is_own
from bn_repro.records.record import address_of


@pytest.mark.parametrize("experiment", ["mnist_sigmoid/quick", "inception/smoke", "mnist_map/quick", "text_head/smoke", "lr_sweep/long"])
def test_no_point_of_a_grid_is_a_users_own(experiment):
    assert not [address for address in map(address_of, configs_of(experiment)) if is_own(address)]


@pytest.mark.parametrize(
    "address, expected",
    {
        "mnist_sigmoid/quick/batch-s12345": False,
        "mnist_sigmoid/quick/layer-s0": True,
        "mnist_sigmoid/quick/batch-s0,train.lr=0.25": True,
        "lr_sweep/long/batch-s200,train.lr=0.1": False,
        "lr_sweep/long/batch-s200,train.lr=0.2": True,
        "lr_sweep/long/batch-s200,train.lr=0.1,network.depth=5": True,
        "mine/quick/layer-s0": False,
        "mine/quick/layer-s0,train.lr=0.25": True,
    }.items(),
)
def test_further_arms_values_and_knobs_are(address, expected):
    assert is_own(address) == expected
