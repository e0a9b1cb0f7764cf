"""Where all random numbers of an evolution come from: seeds alone, so that a perturbation is drawn again instead of stored."""

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """What a seed is for; two purposes never share one."""

    INITIAL = 0
    PERTURBATION = 1
    EPISODE = 2
    PARENT = 3
    REFERENCE = 4
    SCORE = 5
    ELITE = 6
    STATES = 7
    BASELINE = 8
    DIVERSITY = 9
    TARGETS = 10


def seed_of(seed: int, purpose: Purpose, *numbers: int) -> int:
    """Return the seed of one draw of a run: in [0, 2^31), a function of the run's seed, the purpose and what tells it from others."""
    return int(np.random.SeedSequence((seed, purpose, *numbers)).generate_state(1)[0] >> 1)


def noise(seed: int, size: int) -> Tensor:
    """Draw (size,) standard normal numbers, float32, the same from the same seed."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))
