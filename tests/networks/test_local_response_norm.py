"""Is the local response normalization torch's, in outputs, gradients and layout?"""

import pytest
import torch
from torch import nn

from bn_repro.networks.local_response_norm import LocalResponseNorm

LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("memory_format", LAYOUTS)
@pytest.mark.parametrize("settings", [(5,), (3, 0.5, 0.6, 2.0), (4, 0.5)])
@pytest.mark.parametrize("channels", [1, 4, 12])
def test_outputs_and_gradients_are_torchs(settings, channels, memory_format):
    generator = torch.Generator().manual_seed(0)
    x, dy = (30 * torch.randn(2, channels, 3, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    x = x.to(memory_format=memory_format).requires_grad_()
    ours, theirs = LocalResponseNorm(*settings)(x), nn.LocalResponseNorm(*settings)(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    (gradient,), (expected,) = torch.autograd.grad(ours, x, dy), torch.autograd.grad(theirs, x, dy)
    torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-12)
    assert ours.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
def test_narrower_numbers_stay_what_they_are(dtype, tolerance):
    x = (30 * torch.randn(2, 12, 3, 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    ours = LocalResponseNorm(5)(x)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.double(), nn.LocalResponseNorm(5)(x.double()), rtol=tolerance, atol=tolerance)
