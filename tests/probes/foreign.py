"""Inputs, a network of two layers and seeds that the tests of measurements on foreign networks share."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

WIDE, OPEN = (-20.0, 20.0), (-np.inf, np.inf)  # bounds of a site, and what no value saturates


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator():
    return torch.Generator().manual_seed(3)


X, Y = drawn(6, 4), torch.arange(6) % 3


class Weighted(nn.Module):
    """Two layers; subclasses do something more with them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.b(F.relu(self.a(x)))
