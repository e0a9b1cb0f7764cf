"""What a part of the report is: a figure or a table, words, the command that makes its runs, and the machines."""

from collections.abc import Sequence
from dataclasses import dataclass

from bn_repro.records.record import Run


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
    svg: bytes = b""
    table: tuple[tuple[str, ...], ...] = ()


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
