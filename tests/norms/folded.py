"""What tests of folding share: networks as training leaves them, folded and compared with themselves."""

import torch
from torch import nn

from bn_repro.norms import fold_batch_norms, foldable_pairs, unfoldable_norms
from bn_repro.norms.modes import copied


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGES = drawn(3, 4, 6, 6, seed=9)


def as_trained(network):
    """Return the network in float64 with weights and statistics far from the initial ones."""
    network = network.double().train()
    with torch.no_grad():
        for number, (name, tensor) in enumerate((*network.named_parameters(), *network.named_buffers())):
            if tensor.is_floating_point():
                tensor.copy_(0.1 + drawn(*tensor.shape, seed=number) ** 2 if name.endswith("var") else drawn(*tensor.shape, seed=number))
    return network


def fold_checked(network, x=IMAGES):
    """Fold, compare with the network, and return how many were folded and why the others were not."""
    pairs, left = foldable_pairs(network), unfoldable_norms(network)
    folded = fold_batch_norms(network)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), copied(network).eval()(x), rtol=1e-9, atol=1e-9)
    kept = [name for name, module in folded.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert kept == list(left) and not set(kept) & {norm for _, norm in pairs}
    return len(pairs), " | ".join(left.values())


def pair(affine=None, norm=None):
    return as_trained(nn.Sequential(affine or nn.Conv2d(4, 5, 1), norm or nn.BatchNorm2d(5), nn.ReLU()))


def add_skip(y, h):
    """Ask, in another file than the network that calls it, for the class of what it is given."""
    return y + h if isinstance(h, torch.Tensor) else y
