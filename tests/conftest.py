"""What tests share that pytest hands out."""

import pytest
from made_up_tier import write_whole_tier


@pytest.fixture
def restored_torch_settings():
    """Undo what a run sets for its process."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Return made-up records of every study in tier quick, shared by all tests: none may change them."""
    root = tmp_path_factory.mktemp("runs")
    write_whole_tier(root, "quick")
    return root


@pytest.fixture(scope="session")
def report(root):
    """Return the report of the made-up records."""
    from bn_repro.report.report import build_report

    return build_report(root, "quick", None)
