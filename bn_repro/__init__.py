"""A reproduction of Ioffe & Szegedy 2015, "Batch Normalization" (arXiv 1502.03167)."""

from typing import Any

__version__ = "1.0.0"
__all__ = ["__version__", "load_runs"]


def __getattr__(name: str) -> Any:
    """Give `load_runs` when it is first asked for, so that importing a part of the package loads that part alone."""
    if name == "load_runs":
        from bn_repro.comparison.runs import load_runs

        return load_runs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
