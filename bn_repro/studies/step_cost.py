"""What does a training step with each norm cost? (Goldberg 2017, chapter 14)"""

from pathlib import Path

from bn_repro.measures.contrasts import increase
from bn_repro.measures.step_costs import step_cost
from bn_repro.studies.study import NO_RUNS, Answers, Drawn, Figure, Study
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words, ratio_in_words
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
        measure=increase(step_cost("backward")),
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
            rows.append((label, *(ratio_in_words(increase(step_cost(measure))(pairs)) for measure in MEASURES)))
            runs += [run for _, run in pairs]
    headers = ("norm", "forward pass, x BN's", "backward pass, x BN's", "both, x BN's", "memory between them, x BN's")
    return Drawn((headers, *rows), runs, f"n = {len(bn)}.") if rows else None


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
    sections="1",
    question="What does a training step with each norm cost?",
    experiments=("step_cost",),
    claims=(
        backward_claim("layer", "Layer norm: the backward pass takes longer than with BN"),
        backward_claim("goldberg", "Goldberg's layer norm: the backward pass takes longer than with BN"),
    ),
    figures=(
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
