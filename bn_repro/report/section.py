"""What a part of the report is: a figure or a table, words, the command that makes its runs, and the machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure

from bn_repro.records.record import Run
from bn_repro.report.figures import as_png, as_svg


@dataclass(frozen=True)
class Section:
    """One figure or table of the report.

    Args:
        name: of its file, without ending.
        machines: one line for each machine and code that made a run of it.
        table: rows of cells, a header first, where there is no figure.
    """

    name: str
    title: str
    caption: str
    command: str
    machines: frozenset[str]
    figure: Figure | None = None
    table: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def svg(self) -> bytes:
        """Return the figure as the page shows it; empty where there is a table."""
        return as_svg(self.figure, self.name) if self.figure else b""

    @cached_property
    def png(self) -> bytes:
        """Return the figure as pixels, for what shows no SVG."""
        return as_png(self.figure) if self.figure else b""


def command(tier: str, *experiments: str) -> str:
    """Return the command that makes the runs of experiments."""
    return " && ".join(f"./scripts/reproduce.sh --tier {tier} --only {name}" for name in experiments)


def machines(runs: Sequence[Run]) -> frozenset[str]:
    return frozenset(map(machine, runs))


def machine(run: Run) -> str:
    """Describe in one line what made a run."""
    facts = run.environment
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
    where = facts["accelerator"] or f"{facts['processor']}, {facts['cores']} cores"
    commit = (facts["commit"] or "unknown")[:12] + (" with local changes" if facts["is_modified"] else "")
    return f"{where}; Python {facts['python']}, {packages}; commit {commit}"
