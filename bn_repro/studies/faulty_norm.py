"""Does a bias grow without bound if the gradient does not see the normalization? (section 2)"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing

from bn_repro.figures.style import Arm, columns_of, draw_over_seeds, new_figure, thousands
from bn_repro.measures.contrasts import increase, over_subjects
from bn_repro.records.record import DIVERGED, Run
from bn_repro.studies.study import Answers, Figure, Study, of_arms
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import Above, Below

FAULTY, FAULTY_SCALED = "faulty_norm/outside_gradient_center", "faulty_norm/outside_gradient"
BN, PLAIN = "faulty_norm/batch", "faulty_norm/none"
ROUNDING = 1e-3  # of the norm of hundreds of float32 biases after thousands of steps


def bias_growth(run: Run) -> float:
    """Return the norm of the biases at the end over that at half time: 2 for steady growth, 1.41 for a random walk.

    Biases that rounding alone has moved stand still: 1.
    """
    steps, norms = run.column("bias_norm")
    half = norms[np.abs(steps - steps[-1] / 2).argmin()]
    return float(norms[-1] / half) if half > ROUNDING else 1.0


def final_bias_norm(run: Run) -> float:
    return float(run.column("bias_norm")[1][-1])


def loss_change(run: Run) -> float:
    """Return the largest relative change of the loss on the probe batch since the start."""
    if run.summary["status"] == DIVERGED:
        return np.inf
    _, losses = run.column("probe_loss")
    return float(np.abs(losses / losses[0] - 1).max())


def figure_faulty(arms: Sequence[Arm]) -> Drawing:
    """Draw the norm of the biases, and the loss on a fixed batch over its first value, when biases alone train."""
    figure, axes = new_figure(2, 9, 3.4)
    for label, runs in arms:
        draw_over_seeds(axes[0], label, *columns_of(runs, "bias_norm"))
        steps, losses = columns_of(runs, "probe_loss")
        draw_over_seeds(axes[1], label, steps, losses / losses[:, :1])
    axes[0].set(xlabel="training steps", ylabel="l2 norm of all biases b", xlim=(0, None), ylim=(0, None))
    axes[1].set(xlabel="training steps", ylabel="loss over initial loss", xlim=(0, None))
    for axis in axes:
        axis.xaxis.set_major_formatter(thousands)
    axes[0].legend(loc="upper left", fontsize=8)
    return figure


def answer_in_words(answers: Answers) -> str:
    return (
        f"Yes: between half time and the end the biases grow {in_words(answers['sec2-bias'])}, where steady growth is 2, while the loss "
        f"changes by {in_words(answers['sec2-loss'])}. Ignoring the scaling as well makes them {in_words(answers['sec2-scaling'])} larger."
    )


STUDY = Study(
    name="faulty_norm",
    title="A gradient that ignores the normalization",
    sections="2",
    question="Does a bias grow without bound, and the loss stand still, if the gradient does not see the normalization?",
    experiments=("faulty_norm",),
    claims=(
        Claim(
            id="sec2-bias",
            section="2",
            says="If the gradient ignores the centering, the bias grows without bound",
            paper="grows indefinitely",
            unit="x",
            reference=FAULTY,
            subject=FAULTY,
            control=BN,
            measure=over_subjects(bias_growth),
            rule=Above(1, 1.8),
        ),
        Claim(
            id="sec2-loss",
            section="2",
            says="... while the loss stands still",
            paper="no change",
            unit="relative change",
            reference=FAULTY,
            subject=FAULTY,
            control=PLAIN,
            measure=over_subjects(loss_change),
            rule=Below(1e-3, 1e-2),
        ),
        Claim(
            id="sec2-scaling",
            section="2",
            says="... and ignoring the scaling as well makes the bias larger",
            paper="worse",
            unit="x",
            reference=FAULTY,
            subject=FAULTY_SCALED,
            control=PLAIN,
            measure=increase(final_bias_norm),
            rule=Above(1, 1.25),
        ),
    ),
    figures=(
        Figure(
            name="section-2",
            title="Section 2: biases under a gradient that ignores the normalization",
            caption="Only the biases before the norms train. Left: their norm. Right: the loss on a fixed batch, normalized by that "
            "batch, over its initial value.",
            alt="Left, the norm of the biases grows in a straight line if centering is outside the gradient. Right, the loss stays at 1.",
            draw=of_arms(
                figure_faulty,
                (
                    ("centered outside the gradient", FAULTY),
                    ("normalized outside the gradient", FAULTY_SCALED),
                    ("with BN", BN),
                    ("without BN", PLAIN),
                ),
            ),
            experiments=("faulty_norm",),
        ),
    ),
    in_words=answer_in_words,
)
