"""On a quadratic of known Hessian, are the loss and the gradient along the way what calculus gives, and is no trace left?"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unchanged_training import assert_training_is_unchanged_by

from bn_repro.probes import landscape_along_gradient


class Quadratic(nn.Module):
    """f = w' A w / 2 - b' w, its w in two parameters."""

    def __init__(self, A, b, w):
        super().__init__()
        self.A, self.b = A, b
        self.start, self.rest = nn.Parameter(w[:2].clone()), nn.Parameter(w[2:].clone())

    def forward(self, x):
        w = torch.cat([self.start, self.rest])
        return w @ self.A @ w / 2 - self.b @ w


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_quadratic():
    """With g = A w - b: f(w - t g) = f(w) - t g'g + t^2 g'A g / 2; the gradient changes by t A g; the ratio is |A g| / |g|."""
    root, b, w = drawn(5, 5, seed=1), drawn(5, seed=2), drawn(5, seed=3)
    A, lr = root.T @ root, 0.1
    measured = landscape_along_gradient(Quadratic(A, b, w), lambda f, _: f, torch.zeros(1), torch.zeros(1), lr)
    g, f = A @ w - b, w @ A @ w / 2 - b @ w
    steps = [lr * halves / 2 for halves in range(1, 9)]
    losses = [(f - t * (g @ g) + t**2 * (g @ A @ g) / 2).item() for t in steps]
    Ag = ((A @ g) ** 2).sum().sqrt().item()
    expected = {
        "loss": f.item(),
        "gradient_norm": (g @ g).sqrt().item(),
        "loss_min": min(losses),
        "loss_max": max(losses),
        "gradient_change_min": 0.05 * Ag,
        "gradient_change_max": 0.4 * Ag,
        "beta_smoothness": Ag / (g @ g).sqrt().item(),
    }
    assert measured == pytest.approx(expected, rel=1e-10)
    assert expected["beta_smoothness"] <= torch.linalg.eigvalsh(A)[-1]


def test_the_eigenvector_of_the_largest_eigenvalue_meets_the_smoothness_itself():
    """A = diag(1, 2, 3, 8), w along the last axis: beta is 8, whatever the steps."""
    quadratic = Quadratic(torch.diag(torch.tensor([1.0, 2, 3, 8])).double(), torch.zeros(4).double(), torch.tensor([0, 0, 0, 1.0]).double())
    measured = landscape_along_gradient(quadratic, lambda f, _: f, torch.zeros(1), torch.zeros(1), 1 / 8, multiples=[1, 2])
    assert measured["beta_smoothness"] == pytest.approx(8)
    assert (measured["loss"], measured["loss_min"], measured["loss_max"]) == (4, 0, 4)  # to the minimum, and as far beyond


def test_training_is_the_same_with_and_without():
    assert_training_is_unchanged_by(lambda network, _, x, y: landscape_along_gradient(network, F.cross_entropy, x, y, 0.1))
