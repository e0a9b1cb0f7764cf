"""What does a training step with each norm cost? (Goldberg 2017, chapter 14)"""

from pathlib import Path

from bn_repro.measures.contrasts import increase
from bn_repro.measures.relative_cost import relative_cost, timed_runs
from bn_repro.studies.study import Answers, Drawn, Figure, Study
from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_a_cell, in_words
from bn_repro.verdicts.rules import NOT_RUN, Above

NORMS = (
    ("none", "no norm"),
    ("batch", "BN"),
    ("layer", "layer norm"),
    ("goldberg", "Goldberg's layer norm"),
    ("group", "group norm"),
    ("virtual_batch", "virtual batch norm, its reference batch included"),
)
SECTION = "Goldberg 2017"
MEASURES = ("forward", "backward", "step", "memory")
HEADERS = ("norm", "forward, x no norm's", "backward, x no norm's", "both, x no norm's", "memory between them, x no norm's", "n")


def backward_claim(arm: str, says: str) -> Claim:
    """Claim that an arm's backward pass is longer than BN's."""
    return Claim(
        id=f"step-cost-backward-{arm}",
        section=SECTION,
        group="5 layers of 100 tanh units, batches of 60",
        says=says,
        paper="expensive gradient (Goldberg 2017)",
        unit="x",
        reference="step_cost/batch",
        subject=f"step_cost/{arm}",
        control="step_cost/none",
        control_reference="step_cost/none",
        select=timed_runs,
        measure=increase(relative_cost("backward")),
        rule=Above(1, 1.25),
        after_look="Measured anew with ten seeds in place of five, and a graph for each pass; the rule is the same.",
    )


def table_of_norms(root: Path, tier: str) -> Drawn | None:
    """Return a row for each norm: its passes and memory beside those without norms."""
    found = {label: list(timed_runs(root, f"step_cost/{arm}", tier).values()) for arm, label in NORMS}
    rows = [
        (label, *(in_a_cell(Ratio.of([relative_cost(measure)(run) for run in runs])) for measure in MEASURES), str(len(runs)))
        for label, runs in found.items()
        if runs
    ]
    return Drawn((HEADERS, *rows), [run for runs in found.values() for run in runs]) if rows else None


def answer_in_words(answers: Answers) -> str:
    """Say how long backward passes take beside BN's."""
    layer, goldberg = (answers[f"step-cost-backward-{arm}"] for arm in ("layer", "goldberg"))
    if layer.verdict == goldberg.verdict == NOT_RUN:
        return ""
    return (
        f"In 5 layers of 100 tanh units a backward pass takes {in_words(layer)} as long with layer norm as with BN, "
        f"and {in_words(goldberg)} with Goldberg's norm as it is written here. The table has forward passes and whole steps."
    )


STUDY = Study(
    name="step_cost",
    title="What a norm costs",
    sections=SECTION,
    question="What does a training step with each norm cost?",
    experiments=("step_cost",),
    claims=(
        backward_claim("layer", "Layer norm: the backward pass takes longer than with BN"),
        backward_claim("goldberg", "Goldberg's, of two operations: the backward pass takes longer than with BN"),
    ),
    figures=(
        Figure(
            name="cost-of-norms",
            title="What each norm costs beside none",
            caption="Passes over 60 images in 5 layers of 100 tanh units, on one core, each network in turn with the same one without "
            "norms. Memory is what autograd keeps between the passes, without parameters, buffers and the batch. Intervals are of"
            " repeated measurements on one machine. BN, layer and group norm are torch's fused layers, the others are of several "
            "operations.",
            alt="A table of the norms: forward pass, backward pass, both, memory, as multiples of those without norms.",
            draw=table_of_norms,
            experiments=("step_cost",),
        ),
    ),
    in_words=answer_in_words,
)
