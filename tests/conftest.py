"""What tests share that pytest hands out."""

import pytest


@pytest.fixture
def restored_torch_settings():
    """Undo what a run sets for its process."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
