"""A whole made-up tier, which every study has runs of."""

from pathlib import Path

from made_up_records import MadeUp, percentiles_moving, write, write_tier
from made_up_shifts import write_shift_tier
from made_up_trainings import write_inception_tier


def write_whole_tier(root: Path, tier: str) -> None:
    """Write what all claims need; section 2's arms grow as the paper says."""
    write_tier(root, tier)
    write_inception_tier(root, tier)
    write_shift_tier(root, tier)
    for arm in ("outside_gradient_center", "outside_gradient", "batch", "none"):
        for seed in range(6):
            numbers = MadeUp([0.1] * 5, percentiles_moving(1), bias_norms=(0, 1, 2, 3, 4 + seed), losses=(2.3, 2.3, 2.3, 2.3, 2.3))
            write(root, f"faulty_norm/{tier}/{arm}-s{seed}", numbers)
