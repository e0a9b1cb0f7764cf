"""Which figures a report has, from which runs, with which words under them; a figure without runs is left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bn_repro.records.record import Run
from bn_repro.report.figures import Arm, figure_1a, figure_1bc, figure_faulty
from bn_repro.report.inception_figures import figure_2, figure_3, figure_sweep
from bn_repro.report.protocol import inception_protocols, mnist_protocol
from bn_repro.report.section import Section, command, machines
from bn_repro.report.shift_section import shift_sections
from bn_repro.studies.claims import BN, BN_BEST, FAULTY, FAULTY_SCALED, PLAIN, PLAIN_BEST
from bn_repro.studies.section_4_2 import LABELS
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.selection import runs_in, runs_of, sweeps_of

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plan:
    name: str
    title: str
    caption: str
    draw: Callable[[Sequence[Arm]], Figure | Rows]
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
FIGURE_2 = (
    "Test accuracy of the arms of section 4.2 on CIFAR-10 against training steps, by moving averages, each point the mean of the last "
    "five measurements. Lines are means over seeds, bands run from the lowest to the highest seed; a cross is where the loss left the "
    "finite numbers, the dotted line is chance."
)
FIGURE_3 = (
    "The target is the accuracy that every run of Inception reached. Steps are means over the seeds that reached it; the best accuracy "
    "is the mean over seeds with its 95 % interval. The paper's numbers are of ImageNet."
)
COMMON_ARMS = (("without BN", PLAIN), ("with BN", BN))
BEST_ARMS = (("without BN", PLAIN_BEST), ("with BN", BN_BEST))
INCEPTION_ARMS = tuple((label, f"inception/{arm}") for arm, label in LABELS.items())
PAPER_LR_ARMS = tuple((label, f"inception_paper_lr/{arm}") for arm, label in LABELS.items())
BASE, PAPER_BASE = "base: the best learning rate without BN", "base: the paper's 0.0015"

PLANS = (
    Plan("figure-1a", f"Figure 1a: test accuracy, {COMMON}", FIGURE_1A, figure_1a, COMMON_ARMS),
    Plan("figure-1bc", f"Figures 1b, 1c: the input to a typical sigmoid, {COMMON}", FIGURE_1BC, figure_1bc, COMMON_ARMS),
    Plan("figure-1a-best", f"Figure 1a: test accuracy, {BEST}", FIGURE_1A, figure_1a, BEST_ARMS),
    Plan("figure-1bc-best", f"Figures 1b, 1c: the input to a typical sigmoid, {BEST}", FIGURE_1BC, figure_1bc, BEST_ARMS),
    Plan("figure-2", f"Figure 2: Inception with and without BN, {BASE}", FIGURE_2, figure_2, INCEPTION_ARMS),
    Plan("figure-3", f"Figure 3: steps and best accuracy, {BASE}", FIGURE_3, figure_3, INCEPTION_ARMS),
    Plan("figure-2-paper", f"Figure 2: Inception with and without BN, {PAPER_BASE}", FIGURE_2, figure_2, PAPER_LR_ARMS),
    Plan("figure-3-paper", f"Figure 3: steps and best accuracy, {PAPER_BASE}", FIGURE_3, figure_3, PAPER_LR_ARMS),
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


def sections(root: Path, tier: str, answers: Sequence[Answer]) -> list[Section]:
    """Draw every figure whose first arm, and one to compare it with, have runs; `answers` are those of all claims."""
    drawn = []
    for plan in PLANS:
        arms = [(label, list(runs_of(root, arm, tier).values())) for label, arm in plan.arms]
        if not arms[0][1] or sum(bool(runs) for _, runs in arms) < 2:
            continue
        arms = [(label, runs) for label, runs in arms if runs]
        counts = "; ".join(f"{label}: n = {len(runs)}" for label, runs in arms)
        experiments = dict.fromkeys(arm.split("/")[0] for _, arm in plan.arms)
        runs = [run for _, runs in arms for run in runs]
        drawn.append(section(plan.name, plan.title, f"{plan.caption} {counts}.", command(tier, *experiments), plan.draw(arms), runs))
    return (
        drawn
        + sweep_section(root, tier)
        + shift_sections(root, tier, answers)
        + mnist_protocol(root, tier)
        + inception_protocols(root, tier)
    )


def section(name: str, title: str, caption: str, command: str, drawn: Figure | Rows, runs: Sequence[Run]) -> Section:
    if isinstance(drawn, Figure):
        return Section(name, title, caption, command, machines(runs), figure=drawn)
    return Section(name, title, caption, command, machines(runs), table=drawn)


SWEPT_NORMS = (
    ("without BN", "none"),
    ("with BN", "batch"),
    ("with layer norm", "layer"),
    ("with group norm", "group"),
    ("with noisy BN", "noisy_batch"),
    ("with noise, without BN", "noisy_none"),
)


def sweep_section(root: Path, tier: str) -> list[Section]:
    """Draw the sweeps of the networks that have them with and without BN, and those of other norms beside."""
    panels, runs, experiments = [], [], []
    for network, experiment in (("sigmoid network, section 4.1", "lr_sweep"), ("small Inception, section 4.2", "lr_sweep_inception")):
        norms = [(label, list(sweeps_of(root, f"{experiment}/{norm}", tier).values())) for label, norm in SWEPT_NORMS]
        if norms[0][1] and norms[1][1]:
            norms = [(label, sweeps) for label, sweeps in norms if sweeps]
            panels.append((network, norms))
            runs += [run for _, sweeps in norms for sweep in sweeps for run in runs_in(sweep)]
            experiments.append(experiment)
    if not panels:
        return []
    caption = (
        "Final test accuracy after the same number of steps at every learning rate; a run that diverged counts as chance. Lines are means "
        "over seeds, bands run from the lowest to the highest seed. The dotted line is halfway from chance to the best without BN: "
        "a learning rate counts as usable from there."
    )
    title = "The learning rates that can be used, with and without BN"
    return [section("lr-sweep", title, caption, command(tier, experiments[0]), figure_sweep(panels), runs)]
