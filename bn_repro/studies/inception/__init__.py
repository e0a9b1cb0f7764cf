"""How many times fewer steps does Inception need with BN, and how much further does it get? (section 4.2, Figures 2 and 3)"""

import math
from functools import partial

from bn_repro.studies.inception.claims import CLAIMS
from bn_repro.studies.inception.figures import figure_2, figure_3, speedup_by_rate, speedup_by_target
from bn_repro.studies.inception.measures import BASES, LABELS, PAPERS_RATE, TUNED, XAVIER, XAVIER_LOWER_RATE, Base
from bn_repro.studies.inception.times import table_of_times
from bn_repro.studies.study import Answers, Figure, Study, of_arms
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.numbers import fewer, gains, in_words
from bn_repro.verdicts.rules import NOT_RUN


def answer_in_words(answers: Answers) -> str:
    """Say what of section 4.2 has runs: BN-x5 and BN alone at the best rate and at the paper's, other initial weights, sigmoids."""
    return " ".join(said for say in (of_x5, of_baseline, of_xavier, of_sigmoids) if (said := say(answers)))


def at_both_rates(answers: Answers, id: str) -> tuple[Answer, Answer] | None:
    """Return a claim's answers at the plain network's best rate and at the paper's; None if not both have runs."""
    tuned, papers = (answers[f"{id}{base.suffix}"] for base in (TUNED, PAPERS_RATE))
    return None if NOT_RUN in (tuned.verdict, papers.verdict) else (tuned, papers)


def of_x5(answers: Answers) -> str:
    steps, at_own_rate = at_both_rates(answers, "fig2-steps-bn_x5"), at_both_rates(answers, "fig2-steps-bn_x5-same-rate")
    if not (steps and at_own_rate):
        return ""
    return (
        f"To 95 % of the plain network's accuracy BN-x5 needs {fewer(steps[0])} steps than the plain network at its best rate and "
        f"{fewer(steps[1])} at the paper's, there {fewer(at_own_rate[1])} than the plain network at BN-x5's own rate (the paper: 14.8)."
    )


def of_baseline(answers: Answers) -> str:
    steps, accuracy = at_both_rates(answers, "fig2-steps-bn_baseline"), at_both_rates(answers, "fig3-best-bn_baseline")
    if not (steps and accuracy):
        return ""
    return (
        f"BN alone (BN-Baseline) needs {fewer(steps[0])} steps and {gains(accuracy[0])} at the best rate; at the paper's it needs "
        f"{fewer(steps[1])}, and {gains(accuracy[1])} (the paper: 2.3 times fewer, to all of the accuracy, and 0.5 points)."
    )


def of_xavier(answers: Answers) -> str:
    steps, accuracy = (answers[f"fig{id}-bn_baseline{XAVIER.suffix}"] for id in ("2-steps", "3-best"))
    if NOT_RUN in (steps.verdict, accuracy.verdict):
        return ""
    is_censored = steps.high is None or not math.isfinite(steps.high)
    said = (
        f"From Xavier's initial weights, at the rate that was best without BN on one seed, BN-Baseline needs {fewer(steps)} steps and "
        f"{gains(accuracy)}{'; not all plain networks arrive' if is_censored else ''}."
    )
    steps, accuracy = (answers[f"fig{id}-bn_baseline{XAVIER.suffix}-lower-rate"] for id in ("2-steps", "3-best"))
    if NOT_RUN in (steps.verdict, accuracy.verdict):
        return said
    return f"{said} Than the plain network at the next lower rate it needs {fewer(steps)} steps, and {gains(accuracy)}."


def of_sigmoids(answers: Answers) -> str:
    with_bn, plain, with_relu = (answers[id] for id in ("fig2-sigmoid-bn", "fig2-sigmoid-plain", "fig3-best-bn_x5_sigmoid"))
    if with_bn.verdict == NOT_RUN:
        return ""
    said = (
        f"With sigmoid instead of ReLU, from Xavier's weights, Inception reaches {in_words(with_bn)} with BN and {in_words(plain)} without."
    )
    return said if with_relu.verdict == NOT_RUN else f"{said} With ReLU in its place BN-x5 {gains(with_relu)} (in the paper it gains 3.2)."


def of_base(base: Base) -> tuple[Figure, Figure]:
    """Return Figures 2 and 3 of one base."""
    lower = (("Inception at 0.018", XAVIER_LOWER_RATE),) if base is XAVIER else ()
    arms = (*((label, base.arm(arm)) for arm, label in LABELS.items()), *lower)
    name = base.suffix
    return (
        Figure(
            name=f"figure-2{name}",
            title=f"Figure 2: {base.short_title}",
            caption="Test accuracy against training steps, by moving averages, each point the mean of the last five measurements. "
            "Lines are means over seeds, bands run from the lowest to the highest seed; a cross is where the loss left the finite numbers, "
            "after which a run counts as chance, the dotted line.",
            alt="Accuracy of all arms against steps, on a linear and on a logarithmic axis.",
            draw=of_arms(figure_2, arms),
            experiments=(base.experiment, *(arm.split("/")[0] for _, arm in lower)),
        ),
        Figure(
            name=f"figure-3{name}",
            title=f"Figure 3: {base.short_title}",
            caption="The target is 95 % of the plain network's accuracy on a tuning seed. Steps: mean over the seeds that arrived. "
            "Times fewer: as in the claims, only where all seeds arrived. The paper's numbers are of ImageNet.",
            alt="A table of the arms: learning rate, steps, accuracy, and the paper's.",
            draw=of_arms(partial(figure_3, base), arms),
            experiments=(base.experiment, *(arm.split("/")[0] for _, arm in lower)),
        ),
    )


STUDY = Study(
    name="inception",
    title="Inception with and without BN",
    sections="4.2",
    question="How many times fewer steps does Inception need with BN, and how much further does it get?",
    experiments=(*(base.experiment for base in BASES), XAVIER_LOWER_RATE.split("/")[0], "step_cost_inception"),
    claims=CLAIMS,
    figures=(
        *of_base(TUNED),
        Figure(
            name="time-to-target",
            title="Steps and time to the target of section 4.2",
            caption="Times fewer steps to 95 % of the plain network's accuracy, as in Figure 3. A step is a forward and a backward pass "
            "on one core, timed apart from the trainings, two networks in turn; BN-x5 and BN-x30 lack local response "
            "normalization, so that theirs is shorter than BN-Baseline's. Times less time is times fewer steps over what a step takes.",
            alt="A table of the arms with BN at each base: fewer steps, time of a step, less time.",
            draw=table_of_times,
            experiments=("step_cost_inception", *(base.experiment for base in BASES)),
        ),
        Figure(
            name="speedup-by-target",
            title="Speed-up against the target",
            caption="How many times fewer steps arms with BN need than the plain network of the same seed. Lines are means over seeds, "
            "bands run from the lowest to the highest; a curve ends where a seed does not arrive.",
            alt="Curves of the speed-up over the target accuracy, a panel per base.",
            draw=speedup_by_target,
            experiments=tuple(base.experiment for base in BASES),
        ),
        Figure(
            name="speedup-by-rate",
            title="Steps against the learning rate, without and with BN",
            caption="Steps to the same target, a mark per seed, lines the means at one base. The rates are 1, 5 and 30 times the best "
            "without BN and the paper's; those with BN at 5 and 30 times follow section 4.2.1.",
            alt="Steps over the learning rate: without BN and with it, at each base.",
            draw=speedup_by_rate,
            experiments=(TUNED.experiment, PAPERS_RATE.experiment),
        ),
        *(figure for base in BASES[1:] for figure in of_base(base)),
    ),
    in_words=answer_in_words,
)
