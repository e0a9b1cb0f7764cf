"""What does a training step with a norm cost, and how much of the steps that BN saves is time saved? (section 4.2; Goldberg 2017)"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bn_repro.measures.accuracy import bounds_of_speedup
from bn_repro.measures.contrasts import increase
from bn_repro.records.record import Run
from bn_repro.studies.inception.claims import FASTER
from bn_repro.studies.inception.measures import BASES, LABELS, target_at
from bn_repro.studies.study import NO_RUNS, Answers, Drawn, Figure, Study
from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words, number
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import runs_of

NORMS = (
    ("none", "no norm"),
    ("batch", "BN"),
    ("layer", "layer norm"),
    ("goldberg", "Goldberg's layer norm"),
    ("group", "group norm"),
    ("virtual_batch", "virtual batch norm, its reference batch included"),
)
MEASURES = ("forward", "backward", "both", "memory")


def cost(measure: str) -> Callable[[Run], float]:
    """Return a number of a run: what its steps take, as a multiple of what they take without norms; the median over its rows."""
    return lambda run: float(np.median(run.column(f"step_cost/{measure}")[1]))


def backward_claim(arm: str, says: str) -> Claim:
    return Claim(
        id=f"step-cost-backward-{arm}",
        section="1",
        group="A step of the sigmoid network's shape, 5 layers of tanh",
        says=says,
        paper="expensive gradient (Goldberg 2017)",
        unit="x",
        reference="step_cost/batch",
        subject=f"step_cost/{arm}",
        control="step_cost/none",
        control_reference="step_cost/none",
        measure=increase(cost("backward")),
        rule=Above(1, 1.25),
    )


def table_of_norms(root: Path, tier: str) -> Drawn | None:
    """Return a row for each norm: its passes and memory beside BN's, in pairs of seeds."""
    found = {arm: runs_of(root, f"step_cost/{arm}", tier) for arm, _ in NORMS}
    bn = found["batch"]
    rows, runs = [], list(bn.values())
    for arm, label in NORMS:
        seeds = sorted(bn.keys() & found[arm].keys())
        if arm != "batch" and seeds:
            pairs = [(bn[seed], found[arm][seed]) for seed in seeds]
            rows.append((label, *(written(increase(cost(measure))(pairs)) for measure in MEASURES)))
            runs += [run for _, run in pairs]
    headers = ("norm", "forward pass, x BN's", "backward pass, x BN's", "both, x BN's", "memory between them, x BN's")
    return Drawn((headers, *rows), runs, f"n = {len(bn)}.") if rows else None


def table_of_times(root: Path, tier: str) -> Drawn | None:
    """Return a row for each arm with BN at each base: times fewer steps to the target, how long a step takes, times less time."""
    costs = {arm: runs_of(root, f"step_cost_inception/{arm}", tier) for arm in ("inception", *FASTER)}
    rows, runs = [], []
    for base in BASES:
        plain = runs_of(root, base.arm("inception"), tier)
        for arm in FASTER:
            subjects = runs_of(root, base.arm(arm), tier)
            seeds = sorted(plain.keys() & subjects.keys() & costs["inception"].keys() & costs[arm].keys())
            target = target_at(plain[seeds[0]], base.targets) if seeds else None
            if target is None:
                continue
            bounds = [bounds_of_speedup(plain[seed], subjects[seed], target) for seed in seeds]
            longer = [cost("both")(costs[arm][seed]) / cost("both")(costs["inception"][seed]) for seed in seeds]
            fewer = Ratio(*zip(*bounds))  # type: ignore[arg-type]
            faster = Ratio(*zip(*([bound / one for bound in of_seed] for of_seed, one in zip(bounds, longer))))  # type: ignore[arg-type]
            rows.append((base.short_title, LABELS[arm], written(fewer), written(Ratio.of(longer)), written(faster), str(len(seeds))))
            runs += [run for seed in seeds for run in (plain[seed], subjects[seed], costs["inception"][seed], costs[arm][seed])]
    headers = ("base", "arm", "times fewer steps", "a step takes, x the plain network's", "times less time", "n")
    return Drawn((headers, *rows), list(dict.fromkeys(runs))) if rows else None


def written(ratio: Ratio) -> str:
    """Write a ratio with its interval; where a run never arrived, its one bound."""
    if list(ratio.lows) != list(ratio.highs):
        return f"at most {number(ratio.high)}" if math.isfinite(ratio.high) else f"at least {number(ratio.low)}"
    return f"{number(ratio.value)} [{number(ratio.low)}, {number(ratio.high)}]"


def answer_in_words(answers: Answers) -> str:
    layer, goldberg = (answers[f"step-cost-backward-{arm}"] for arm in ("layer", "goldberg"))
    if NOT_RUN in (layer.verdict, goldberg.verdict):
        return NO_RUNS
    return (
        f"A backward pass takes {in_words(layer)} as long with layer norm as with BN in the sigmoid network's shape, "
        f"and {in_words(goldberg)} with Goldberg's."
    )


STUDY = Study(
    name="step_cost",
    title="What a norm costs",
    sections="4.2",
    question="What does a training step with each norm cost, and how much of the steps that BN saves is time saved?",
    experiments=("step_cost", "step_cost_inception"),
    claims=(
        backward_claim("layer", "Layer norm: the backward pass takes longer than with BN"),
        backward_claim("goldberg", "Goldberg's layer norm: the backward pass takes longer than with BN"),
    ),
    figures=(
        Figure(
            name="time-to-target",
            title="Steps and time to the target of section 4.2",
            caption="Times fewer steps to 95 % of the plain network's accuracy, as in Figure 3; what a step takes beside the plain "
            "network's; and the time that both make. Steps are timed apart from the trainings, passes of two networks in turn.",
            alt="A table of the arms with BN at each base: fewer steps, time of a step, less time.",
            draw=table_of_times,
            experiments=("step_cost_inception", *(base.experiment for base in BASES)),
        ),
        Figure(
            name="cost-of-norms",
            title="What each norm costs beside BN",
            caption="Passes over 60 images in 5 layers of 100 tanh units, on one core. Each network is timed in turn with the same one "
            "without norms. Memory is what a forward pass keeps for the backward pass, without parameters.",
            alt="A table of the norms: forward pass, backward pass, both, memory, as multiples of BN's.",
            draw=table_of_norms,
            experiments=("step_cost",),
        ),
    ),
    in_words=answer_in_words,
)
