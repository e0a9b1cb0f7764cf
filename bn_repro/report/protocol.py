"""How the choice of what the paper leaves open is shown: each grid's figure, and its best points in words."""

from collections.abc import Sequence
from pathlib import Path

from bn_repro.records.record import find_runs
from bn_repro.report.figures import figure_protocol
from bn_repro.report.section import Section, command, machines
from bn_repro.studies.tuning import INCEPTION, MNIST, GridPoint, Protocol, best_point, read_grid, without_momentum

TITLE = "Protocol: the choice of what the paper leaves open"


def mnist_protocol(root: Path, tier: str) -> list[Section]:
    """Show the grid of section 4.1; no grid, no section."""
    points = read_grid(root, tier)
    if not points:
        return []
    choices = (
        ("One common point, the plain network's best without momentum", best_point(points, "none", without_momentum)),
        ("best of all without BN", best_point(points, "none")),
        ("best of all with BN", best_point(points, "batch")),
    )
    return [grid_section(root, tier, "protocol", TITLE, MNIST, points, choices)]


def inception_protocols(root: Path, tier: str) -> list[Section]:
    """Show the grids of section 4.2, one for the plain Inception of each size."""
    drawn = []
    for size, protocol in INCEPTION.items():
        points = read_grid(root, tier, protocol)
        if points:
            title = f"{TITLE}, Inception of tier {size}"
            choices = (("The base of all arms, the best of all without BN", best_point(points, "none")),)
            drawn.append(grid_section(root, tier, f"protocol-inception-{size}", title, protocol, points, choices))
    return drawn


def grid_section(
    root: Path,
    tier: str,
    name: str,
    title: str,
    protocol: Protocol,
    points: Sequence[GridPoint],
    choices: Sequence[tuple[str, GridPoint]],
) -> Section:
    chosen = "; ".join(
        f"{what}: "
        + ", ".join(f"{knob}={value:g}" for knob, value in zip(protocol.knobs, point.values))
        + f" ({100 * point.accuracy:.2f} %)"
        for what, point in choices
    )
    runs = find_runs(root, protocol.experiment, tier)
    num_seeds = min(point.n for point in points)
    seeds = f"means over {num_seeds} seeds" if num_seeds > 1 else "one seed"
    caption = f"Validation accuracy after {runs[0].config['train.steps']:,} steps of every point of the grid; {seeds}. {chosen}."
    figure = figure_protocol(points, protocol.knobs)
    return Section(name, title, caption, command(tier, protocol.experiment), machines(runs), figure=figure)
