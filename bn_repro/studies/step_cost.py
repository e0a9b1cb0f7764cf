"""What does a training step with each norm cost? (Goldberg 2017, chapter 14)"""

from pathlib import Path

from bn_repro.measures.contrasts import increase
from bn_repro.measures.step_costs import step_cost
from bn_repro.studies.study import NO_RUNS, Answers, Drawn, Figure, Study
from bn_repro.verdicts.censored import Ratio
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words, ratio_in_words
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import runs_of

NORMS = (
    ("batch", "BN"),
    ("layer", "layer norm"),
    ("goldberg", "Goldberg's layer norm"),
    ("group", "group norm"),
    ("virtual_batch", "virtual batch norm, its reference batch included"),
)
SECTION = "Goldberg 2017"
MEASURES = ("forward", "backward", "both", "memory")


def backward_claim(arm: str, says: str) -> Claim:
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
        measure=increase(step_cost("backward")),
        rule=Above(1, 1.25),
    )


def table_of_norms(root: Path, tier: str) -> Drawn | None:
    """Return a row for each norm: its passes and memory beside those without norms."""
    found = {label: list(runs_of(root, f"step_cost/{arm}", tier).values()) for arm, label in NORMS}
    rows = [
        (label, *(ratio_in_words(Ratio.of([step_cost(measure)(run) for run in runs])) for measure in MEASURES), str(len(runs)))
        for label, runs in found.items()
        if runs
    ]
    headers = ("norm", "forward pass, x no norm's", "backward pass", "both", "memory between them", "n")
    return Drawn((headers, *rows), [run for runs in found.values() for run in runs]) if rows else None


def answer_in_words(answers: Answers) -> str:
    layer, goldberg = (answers[f"step-cost-backward-{arm}"] for arm in ("layer", "goldberg"))
    if NOT_RUN in (layer.verdict, goldberg.verdict):
        return NO_RUNS
    return (
        f"In 5 layers of 100 tanh units a backward pass takes {in_words(layer)} as long with layer norm as with BN, "
        f"and {in_words(goldberg)} with Goldberg's. The table has the other passes, beside no norm."
    )


STUDY = Study(
    name="step_cost",
    title="What a norm costs",
    sections=SECTION,
    question="What does a training step with each norm cost?",
    experiments=("step_cost",),
    claims=(
        backward_claim("layer", "Layer norm: the backward pass takes longer than with BN"),
        backward_claim("goldberg", "Goldberg's layer norm: the backward pass takes longer than with BN"),
    ),
    figures=(
        Figure(
            name="cost-of-norms",
            title="What each norm costs beside none",
            caption="Passes over 60 images in 5 layers of 100 tanh units, on one core, each network in turn with the same one without "
            "norms. Memory is what a forward pass keeps for the backward pass, without parameters. Intervals are of repeated "
            "measurements on this machine. Norms are torch's own layers; Goldberg's is composed of two operations.",
            alt="A table of the norms: forward pass, backward pass, both, memory, as multiples of those without norms.",
            draw=table_of_norms,
            experiments=("step_cost",),
        ),
    ),
    in_words=answer_in_words,
)
