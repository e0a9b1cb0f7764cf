"""Which figures a report has, from which runs, with which words under them; a figure without runs is left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bn_repro.claims.claims import BN, BN_BEST, FAULTY, FAULTY_SCALED, PLAIN, PLAIN_BEST
from bn_repro.claims.judging import runs_of
from bn_repro.claims.protocol import EXPERIMENT, KNOBS, best_point, read_grid
from bn_repro.records.record import Run, find_runs
from bn_repro.report.figures import Arm, as_svg, figure_1a, figure_1bc, figure_faulty, figure_protocol


@dataclass(frozen=True)
class Section:
    """One figure of the report: its file name, heading, caption, the command that makes its runs, and the machines."""

    name: str
    title: str
    caption: str
    command: str
    svg: bytes
    machines: frozenset[str]


@dataclass(frozen=True)
class Plan:
    name: str
    title: str
    caption: str
    draw: Callable[[Sequence[Arm]], Figure]
    arms: Sequence[tuple[str, str]]  # (label, `<experiment>/<arm>`)


COMMON, BEST = "both at the best learning rate without BN, no momentum", "each at its own best"
FIGURE_1A = (
    "Test accuracy of the sigmoid network of section 4.1 against training steps, by moving averages. Lines are means over "
    "seeds, bands run from the lowest to the highest seed."
)
FIGURE_1BC = (
    "The 15, 50 and 85 percentiles of the input to one sigmoid of the last hidden layer over training, on one fixed batch of test "
    "images. The lines are of seed 0, and of the unit whose median travels the middle distance; bands run over all seeds' typical units."
)
COMMON_ARMS = (("without BN", PLAIN), ("with BN", BN))
BEST_ARMS = (("without BN", PLAIN_BEST), ("with BN", BN_BEST))

PLANS = (
    Plan("figure-1a", f"Figure 1a: test accuracy, {COMMON}", FIGURE_1A, figure_1a, COMMON_ARMS),
    Plan("figure-1bc", f"Figures 1b, 1c: the input to a typical sigmoid, {COMMON}", FIGURE_1BC, figure_1bc, COMMON_ARMS),
    Plan("figure-1a-best", f"Figure 1a: test accuracy, {BEST}", FIGURE_1A, figure_1a, BEST_ARMS),
    Plan("figure-1bc-best", f"Figures 1b, 1c: the input to a typical sigmoid, {BEST}", FIGURE_1BC, figure_1bc, BEST_ARMS),
    Plan(
        "section-2",
        "Section 2: a gradient that ignores the normalization",
        "Only the biases before the norms train. Left: their norm. Right: the loss on a fixed batch, "
        "normalized by that batch, over its initial value.",
        figure_faulty,
        (
            ("centered outside the gradient", FAULTY),
            ("normalized outside the gradient", FAULTY_SCALED),
            ("with BN", "faulty_norm/batch"),
            ("without BN", "faulty_norm/none"),
        ),
    ),
)


def sections(root: Path, tier: str) -> list[Section]:
    """Draw every figure whose arms all have runs."""
    drawn = []
    for plan in PLANS:
        arms = [(label, list(runs_of(root, arm, tier).values())) for label, arm in plan.arms]
        arms = [(label, runs) for label, runs in arms if runs]
        if len(arms) < 2:
            continue
        counts = "; ".join(f"{label}: n = {len(runs)}" for label, runs in arms)
        experiments = dict.fromkeys(arm.split("/")[0] for _, arm in plan.arms)
        command = " && ".join(f"./scripts/reproduce.sh --tier {tier} --only {name}" for name in experiments)
        svg = as_svg(plan.draw(arms), plan.name)
        machines = frozenset(machine(run) for _, runs in arms for run in runs)
        drawn.append(Section(plan.name, plan.title, f"{plan.caption} {counts}.", command, svg, machines))
    return drawn + protocol_section(root, tier)


def protocol_section(root: Path, tier: str) -> list[Section]:
    points = read_grid(root, tier)
    if not points:
        return []
    choices = (
        ("One common point, the plain network's best without momentum", best_point(points, "none", has_momentum=False)),
        ("best of all without BN", best_point(points, "none")),
        ("best of all with BN", best_point(points, "batch")),
    )
    chosen = "; ".join(
        f"{what}: " + ", ".join(f"{knob}={value:g}" for knob, value in zip(KNOBS, point.values)) + f" ({100 * point.accuracy:.2f} %)"
        for what, point in choices
    )
    runs = find_runs(root, EXPERIMENT, tier)
    caption = (
        f"Validation accuracy after {runs[0].config['train.steps']:,} steps of every point of the grid; "
        f"means over {min(point.n for point in points)} seeds. {chosen}."
    )
    machines = frozenset(machine(run) for run in runs)
    command = f"./scripts/reproduce.sh --tier {tier} --only {EXPERIMENT}"
    return [
        Section(
            "protocol",
            "Protocol: the choice of what the paper leaves open",
            caption,
            command,
            as_svg(figure_protocol(points), "protocol"),
            machines,
        )
    ]


def machine(run: Run) -> str:
    """Describe in one line what made a run."""
    facts = run.environment
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
    where = facts["accelerator"] or f"{facts['processor']}, {facts['cores']} cores"
    commit = (facts["commit"] or "unknown")[:12] + (" with local changes" if facts["is_modified"] else "")
    return f"{where}; Python {facts['python']}, {packages}; commit {commit}"
