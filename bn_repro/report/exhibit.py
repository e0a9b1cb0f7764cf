"""What a study shows of a tier: a figure or a table as drawn, its words, the command that makes its runs, and the machines."""

from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure as Drawing

from bn_repro.figures.style import as_png, as_svg
from bn_repro.records.record import Run
from bn_repro.studies.study import Drawn, Figure, Rows


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of a study, drawn from the records of a tier.

    Args:
        command: what makes its runs.
    """

    figure: Figure
    drawn: Drawn
    command: str

    @property
    def name(self) -> str:
        return self.figure.name

    @property
    def caption(self) -> str:
        return f"{self.figure.caption} {self.drawn.note}".strip()

    @property
    def rows(self) -> Rows:
        """Return the cells of a table, a header first; none of a figure."""
        return () if isinstance(self.drawn.content, Drawing) else self.drawn.content

    @cached_property
    def svg(self) -> bytes:
        """Return the figure as the page shows it; empty where there is a table."""
        return as_svg(self.drawn.content, self.name) if isinstance(self.drawn.content, Drawing) else b""

    @cached_property
    def png(self) -> bytes:
        """Return the figure as pixels, for what shows no SVG."""
        return as_png(self.drawn.content) if isinstance(self.drawn.content, Drawing) else b""

    @cached_property
    def machines(self) -> frozenset[tuple[str, str]]:
        return frozenset(map(machine, self.drawn.runs))


def machine(run: Run) -> tuple[str, str]:
    """Describe in one line what made a run, and name the commit."""
    facts = run.environment
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
    where = facts["accelerator"] or f"{facts['processor']}, {facts['cores']} cores"
    commit = (facts["commit"] or "unknown")[:12] + (" with local changes" if facts["is_modified"] else "")
    return f"{where}; Python {facts['python']}, {packages}", commit
