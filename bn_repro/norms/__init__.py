"""The paper's transform and what it is compared with."""

from bn_repro.norms.batch_norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    batch_norms,
    normalizing_by_batch,
)
from bn_repro.norms.foldable import foldable_pairs, unfoldable_norms
from bn_repro.norms.folding import fold_batch_norms
from bn_repro.norms.noise import ActivationNoise, noise_from
from bn_repro.norms.population import estimate_population_statistics
from bn_repro.norms.rivals import OutsideGradientNorm, build_norm, normalizes_each_map, subsumes_bias
from bn_repro.norms.virtual_batch_norm import VirtualBatchNorm, keep_reference, reference_statistics

__all__ = [
    "ActivationNoise",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "OutsideGradientNorm",
    "VirtualBatchNorm",
    "batch_norms",
    "build_norm",
    "estimate_population_statistics",
    "fold_batch_norms",
    "foldable_pairs",
    "keep_reference",
    "noise_from",
    "normalizes_each_map",
    "normalizing_by_batch",
    "reference_statistics",
    "subsumes_bias",
    "unfoldable_norms",
]
