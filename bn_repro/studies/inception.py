"""How many times fewer steps does Inception need with BN, and how much further does it get? (section 4.2, Figures 2 and 3)"""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import STYLES, Arm, common_steps, draw_over_seeds, new_figure, thousands
from bn_repro.measures.accuracy import (
    CHANCE,
    accuracy_difference,
    failed_to_train,
    final_accuracy,
    reached_infinity,
    smoothed_accuracy,
    speedup,
    steps_to_reach,
)
from bn_repro.measures.contrasts import over_subjects, share_of_seeds
from bn_repro.studies.study import NO_RUNS, Answers, Figure, Rows, Study, of_arms
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above, Below
from bn_repro.verdicts.statistics import Mean

# Figure 3 of the paper: arm, its label, steps to 72.2 % in millions, maximal accuracy in %; None: never, or not run.
FIGURE_3 = (
    ("inception", "Inception", 31.0, 72.2),
    ("bn_baseline", "BN-Baseline", 13.3, 72.7),
    ("bn_x5", "BN-x5", 2.1, 73.0),
    ("bn_x30", "BN-x30", 2.7, 74.8),
    ("bn_x5_sigmoid", "BN-x5-Sigmoid", None, 69.8),
    ("inception_x5", "Inception at x5", None, None),
    ("inception_x30", "Inception at x30", None, None),
    ("inception_sigmoid", "Inception with sigmoid", None, 0.1),
)
LABELS = {arm: label for arm, label, _, _ in FIGURE_3}
FASTER = {"bn_baseline": 2.3, "bn_x5": 14.8, "bn_x30": 11.5}  # times fewer steps to 72.2 %
GROUP = "Base: the best learning rate without BN"
# Validation accuracy in percent of the plain network at its best point, mean of the tuning seeds (inception_protocol_quick/long).
PLATEAU = 33.63
TARGET = 0.95 * PLATEAU
HEADERS = ("arm", "learning rate", f"steps to {TARGET:.1f} %", "final accuracy, %", "the paper's steps to 72.2 %", "the paper's best, %")


def claim(id: str, says: str, paper: str, unit: str, arms: tuple[str, str], measure: Callable, rule: Above | Below, **rest) -> Claim:
    """Declare a claim on two arms; unless it names another control, plain networks of other seeds stand for the subject."""
    reference, subject = (f"inception/{arm}" for arm in arms)
    controls = {"control": "inception/inception", "control_reference": "inception/inception"}
    return Claim(
        id=id,
        section="4.2",
        group=GROUP,
        says=says,
        paper=paper,
        unit=unit,
        reference=reference,
        subject=subject,
        measure=measure,
        rule=rule,
        **{**controls, **rest},
    )


def fewer_steps(arm: str) -> Sequence[Claim]:
    """Claim that an arm needs fewer steps than the plain network, and than the plain network at the arm's own higher rate."""
    size, label = FASTER[arm], LABELS[arm]
    against_plain = claim(
        id=f"fig2-steps-{arm}",
        says=f"{label} needs fewer steps to {TARGET:.1f} %, 95 % of the plain network's accuracy on tuning seeds",
        paper=f"{size:g} x fewer",
        unit="x",
        arms=("inception", arm),
        measure=speedup(TARGET),
        rule=Above(1, size),
        headline=f"Inception: {label} needs fewer steps" if arm == "bn_x5" else "",
    )
    same_rate = {"bn_x5": "inception_x5", "bn_x30": "inception_x30"}.get(arm)
    if same_rate is None:
        return (against_plain,)
    return (
        against_plain,
        claim(
            id=f"fig2-steps-{arm}-same-rate",
            says=f"... fewer than {LABELS[same_rate]}, without BN at the same rate",
            paper=f"{LABELS[same_rate]} fails",
            unit="x",
            arms=(same_rate, arm),
            measure=speedup(TARGET),
            rule=Above(1, size),
        ),
    )


def higher(below: str, above: str, gain: float) -> Claim:
    return claim(
        id=f"fig3-best-{above}",
        says=f"{LABELS[above]} ends higher than {LABELS[below]}",
        paper=f"{gain:g} points",
        unit="points",
        arms=(below, above),
        measure=accuracy_difference,
        rule=Above(0, gain),
        headline="Inception: BN ends with better accuracy" if above == "bn_baseline" else "",
    )


def fails(factor: int) -> Claim:
    arm = f"inception_x{factor}"
    return claim(
        id=f"fig2-fails-x{factor}",
        says=f"Without BN at {factor} times the learning rate the training fails (infinite, or below 15 %)",
        paper="machine infinity" if factor == 5 else "not run",
        unit="of the seeds",
        arms=(arm, arm),
        measure=share_of_seeds(failed_to_train),
        rule=Above(0.5, 0.9),
        control=f"inception/bn_x{factor}",
        control_reference=None,
    )


SIGMOID_CLAIMS = (
    claim(
        id="fig2-sigmoid-bn",
        says="Inception with sigmoid trains with BN (chance is 10 %)",
        paper="69.8 %, chance 0.1 %",
        unit="%",
        arms=("bn_x5_sigmoid", "bn_x5_sigmoid"),
        measure=over_subjects(final_accuracy),
        rule=Above(100 * CHANCE, 200 * CHANCE),
        control="inception/inception_sigmoid",
        control_reference=None,
        headline="Saturating nonlinearities train with BN",
    ),
    claim(
        id="fig2-sigmoid-plain",
        says="... and stays at chance without",
        paper="at chance",
        unit="%",
        arms=("inception_sigmoid", "inception_sigmoid"),
        measure=over_subjects(final_accuracy),
        rule=Below(120 * CHANCE, 150 * CHANCE),
        control="inception/bn_x5_sigmoid",
        control_reference=None,
    ),
)


def figure_2(arms: Sequence[Arm]) -> Drawing:
    """Draw smoothed test accuracy against training steps, on a linear axis as the paper's and on a logarithmic one."""
    figure, axes = new_figure(2, 10, 4.2, sharey=True)
    for axis in axes:
        for label, runs in arms:
            steps, accuracies = common_steps([smoothed_accuracy(run) for run in runs])
            draw_over_seeds(axis, label, steps, accuracies)
            if any(map(reached_infinity, runs)):
                axis.plot(steps[-1], accuracies[:, -1].mean(), marker="x", color=STYLES[label].color, markersize=7, clip_on=False)
        axis.axhline(CHANCE, color="#999999", linewidth=0.8, linestyle=":")
        axis.set(xlabel="training steps", ylim=(0, None))
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0].set(ylabel="test accuracy", xlim=(0, None))
    axes[0].xaxis.set_major_formatter(thousands)
    axes[1].set_xscale("log")
    axes[1].set_xlim(arms[0][1][0].config["train.eval_every"], None)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def figure_3(arms: Sequence[Arm]) -> Rows:
    """Return the rows of Figure 3, a header first: our numbers beside the paper's."""
    paper = {label: (steps, best) for _, label, steps, best in FIGURE_3}
    return (HEADERS, *(row_of_figure_3(label, runs, *paper[label]) for label, runs in arms))


def row_of_figure_3(label: str, runs: Sequence, paper_steps: float | None, paper_best: float | None) -> tuple[str, ...]:
    needed = [steps_to_reach(run, TARGET) for run in runs]
    reached = [steps for steps in needed if steps is not None]
    steps = f"{np.mean(reached):,.0f}" if reached else "never"
    if reached and len(reached) < len(runs):
        steps += f" ({len(reached)} of {len(runs)} seeds)"
    final = Mean([final_accuracy(run) for run in runs])
    interval = f" [{max(final.low, 0):.1f}, {min(final.high, 100):.1f}]" if final.n > 1 else ""
    diverged = sum(map(reached_infinity, runs))
    note = f"; {diverged} of {len(runs)} reached infinity" if diverged else ""
    return (
        label,
        f"{runs[0].config['train.lr']:g}",
        steps,
        f"{final.value:.1f}{interval}{note}",
        f"{paper_steps:g} million" if paper_steps else "never" if paper_best else "-",
        f"{paper_best:g}" if paper_best else "-",
    )


def answer_in_words(answers: Answers) -> str:
    if answers["fig2-steps-bn_baseline"].verdict == NOT_RUN:
        return NO_RUNS
    steps, higher, sigmoid, plain = (
        in_words(answers[f"fig{id}"]) for id in ("2-steps-bn_baseline", "3-best-bn_baseline", "2-sigmoid-bn", "2-sigmoid-plain")
    )
    return (
        f"To 95 % of the plain network's accuracy BN-Baseline needs {steps} fewer steps, where the paper has 2.3, and it ends {higher} "
        f"higher. With sigmoid instead of ReLU, Inception reaches {sigmoid} with BN and {plain} without."
    )


ARMS = tuple((label, f"inception/{arm}") for arm, label in LABELS.items())
STUDY = Study(
    name="inception",
    title="Inception with and without BN",
    sections="4.2",
    question="How many times fewer steps does Inception need with BN, and how much further does it get?",
    experiments=("inception",),
    claims=(
        *(claim for arm in FASTER for claim in fewer_steps(arm)),
        higher("inception", "bn_baseline", 0.5),
        higher("bn_baseline", "bn_x5", 0.3),
        higher("bn_x5", "bn_x30", 1.8),
        fails(5),
        *SIGMOID_CLAIMS,
    ),
    figures=(
        Figure(
            name="figure-2",
            title="Figure 2: Inception with and without BN on CIFAR-10",
            caption="Test accuracy against training steps, by moving averages, each point the mean of the last five measurements. "
            "Lines are means over seeds, bands run from the lowest to the highest seed; a cross is where the loss left the finite numbers, "
            "the dotted line is chance.",
            alt="Accuracy of all arms against steps, on a linear and on a logarithmic axis.",
            draw=of_arms(figure_2, ARMS),
            experiments=("inception",),
        ),
        Figure(
            name="figure-3",
            title="Figure 3: steps and accuracy beside the paper's",
            caption="Steps are means over the seeds that reached the target. The paper's numbers are of ImageNet.",
            alt="A table of the arms: learning rate, steps, accuracy, and the paper's.",
            draw=of_arms(figure_3, ARMS),
            experiments=("inception",),
        ),
    ),
    in_words=answer_in_words,
)
