"""How many times fewer steps does Inception need with BN, and how much further does it get? (section 4.2, Figures 2 and 3)"""

from functools import partial

from bn_repro.studies.inception.claims import CLAIMS
from bn_repro.studies.inception.figures import figure_2, figure_3, speedup_by_rate, speedup_by_target
from bn_repro.studies.inception.measures import BASES, LABELS, OWN_DECAY, PAPERS_RATE, TUNED, Base
from bn_repro.studies.inception.times import table_of_times
from bn_repro.studies.study import Answers, Figure, Study, of_arms
from bn_repro.verdicts.numbers import gains, in_words
from bn_repro.verdicts.rules import NOT_RUN


def answer_in_words(answers: Answers) -> str:
    """Say what of section 4.2 has runs: what BN alone gains, BN-x5 at three bases, plain at the same rate, and what sigmoids reach."""
    said = []
    baseline = answers["fig2-steps-bn_baseline"]
    if baseline.verdict != NOT_RUN:
        higher, at_paper = (gains(answers[f"fig3-best-bn_baseline{base.suffix}"]) for base in (TUNED, PAPERS_RATE))
        said.append(
            f"BN alone (BN-Baseline) needs {in_words(baseline)} fewer steps to 95 % of the plain network's accuracy (the paper, to all of "
            f"it: 2.3) and {higher}; at the paper's learning rate it {at_paper}."
        )
    bases = (
        (TUNED, "at 5 times the best rate without BN"),
        (OWN_DECAY, "where each arm has its own best decay"),
        (PAPERS_RATE, "at 5 times the paper's rate"),
    )
    x5 = [(answers[f"fig2-steps-bn_x5{base.suffix}"], words) for base, words in bases]
    fewer = [f"{in_words(answer)} fewer steps {words}" for answer, words in x5 if answer.verdict != NOT_RUN]
    if fewer:
        said.append(f"BN-x5 needs {', '.join(fewer)} (the paper: 14.8).")
    slower, same_rate, fails = (
        answers[f"fig2-{id}{PAPERS_RATE.suffix}"] for id in ("steps-bn_baseline", "steps-bn_x5-same-rate", "fails-x5")
    )
    if NOT_RUN not in (slower.verdict, same_rate.verdict, fails.verdict):
        ends = gains(answers[f"fig3-best-bn_x5-same-rate{PAPERS_RATE.suffix}"])
        said.append(
            f"At the paper's rate BN-Baseline needs {in_words(slower)} fewer. Plain networks at 5 times that rate fail in "
            f"{in_words(fails)}; beside them BN-x5 needs {in_words(same_rate)} fewer steps and {ends}."
        )
    with_bn, plain = (answers[f"fig2-sigmoid-{id}"] for id in ("bn", "plain"))
    if with_bn.verdict != NOT_RUN:
        said.append(f"With sigmoid instead of ReLU, Inception reaches {in_words(with_bn)} with BN and {in_words(plain)} without.")
        over_sigmoid = answers["fig3-best-bn_x5_sigmoid"]
        if over_sigmoid.verdict != NOT_RUN:
            said.append(f"With ReLU in its place BN-x5 {gains(over_sigmoid)} (in the paper it gains 3.2).")
    return " ".join(said)


def of_base(base: Base) -> tuple[Figure, Figure]:
    """Return Figures 2 and 3 of one base."""
    arms = tuple((label, base.arm(arm)) for arm, label in LABELS.items())
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
            experiments=(base.experiment,),
        ),
        Figure(
            name=f"figure-3{name}",
            title=f"Figure 3: {base.short_title}",
            caption="The target is 95 % of the plain network's accuracy on a tuning seed. Steps: mean over the seeds that arrived. "
            "Times fewer: as in the claims, only where all seeds arrived. The paper's numbers are of ImageNet.",
            alt="A table of the arms: learning rate, steps, accuracy, and the paper's.",
            draw=of_arms(partial(figure_3, base), arms),
            experiments=(base.experiment,),
        ),
    )


STUDY = Study(
    name="inception",
    title="Inception with and without BN",
    sections="4.2",
    question="How many times fewer steps does Inception need with BN, and how much further does it get?",
    experiments=(*(base.experiment for base in BASES), "step_cost_inception"),
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
            alt="Curves of the speed-up over the target accuracy, a panel a base.",
            draw=speedup_by_target,
            experiments=tuple(base.experiment for base in BASES),
        ),
        Figure(
            name="speedup-by-rate",
            title="Steps against the learning rate, without and with BN",
            caption="Steps to the same target, a mark a seed, lines the means at one base. The rates are 1, 5 and 30 times the best "
            "without BN and the paper's; those with BN at 5 and 30 times follow section 4.2.1.",
            alt="Steps over the learning rate: without BN and with it, at each base.",
            draw=speedup_by_rate,
            experiments=(TUNED.experiment, PAPERS_RATE.experiment),
        ),
        *(figure for base in BASES[1:] for figure in of_base(base)),
    ),
    in_words=answer_in_words,
)
