"""One made-up tier and its report, for all tests of the report; it is shared, so none may change it."""

import pytest
from made_up_tier import write_whole_tier

from bn_repro.report.report import build_report


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_whole_tier(root, "quick")
    return root


@pytest.fixture(scope="session")
def report(root):
    return build_report(root, "quick", None)
