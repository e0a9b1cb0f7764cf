"""What do many crops and an ensemble of six networks gain? (section 4.2.3, Figure 4)"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bn_repro.measures.accuracy import reached_infinity
from bn_repro.records.reading import CROPS, LABELS, SINGLE
from bn_repro.records.record import Run
from bn_repro.studies.study import Answers, Drawn, Figure, Rows, Study
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import runs_with_overrides
from bn_repro.verdicts.statistics import Mean

ARM = "inception_ensemble/bn_x30"
MEMBERS = (  # dropout 5 or 10 %, larger initial weights, norms of each activation in the last module
    "network.drop_rate=0.05",
    "network.drop_rate=0.1",
    "network.init_gain=1.5",
    "network.per_activation_size=2",
    "network.drop_rate=0.05,network.init_gain=1.5",
    "network.drop_rate=0.1,network.per_activation_size=2",
)
Ensemble = tuple[Run, ...]
# Figure 4: top-1 and top-5 errors of BN-Inception on 50,000 validation images, in percent.
ONE_CROP, MANY_CROPS, SIX_NETWORKS = (25.2, 7.82), (21.99, 5.82), (20.1, 4.9)


def ensembles(root: Path, arm: str, tier: str) -> dict[int, Ensemble]:
    """Return the six runs of each seed that has all of them; one that diverged predicts nothing."""
    of_members = [runs_with_overrides(root, f"{arm},{member}", tier) for member in MEMBERS]
    found = [{seed: run for seed, run in runs.items() if not reached_infinity(run)} for runs in of_members]
    return {seed: tuple(runs[seed] for runs in found) for seed in sorted(found[0]) if all(seed in runs for runs in found)}


def is_right(probabilities: np.ndarray, labels: np.ndarray, top: int) -> np.ndarray:
    """Return (N,), of each image whether its label is among the `top` likeliest; of those that tie for the last places, their share."""
    of_label = np.take_along_axis(probabilities, labels[:, None], axis=1)
    likelier, as_likely = (probabilities > of_label).sum(axis=1), (probabilities == of_label).sum(axis=1)
    return np.clip((top - likelier) / as_likely, 0, 1)


def alone(runs: Ensemble, crops: str, top: int) -> np.ndarray:
    """Return (N,), of each image the share of the networks that are right on it, each by itself."""
    return np.mean([is_right(run.predictions[crops], run.predictions[LABELS], top) for run in runs], axis=0)


def together(runs: Ensemble, crops: str, top: int) -> np.ndarray:
    """Return (N,), of each image whether the arithmetic mean of all networks' probabilities is right."""
    return is_right(np.mean([run.predictions[crops] for run in runs], axis=0), runs[0].predictions[LABELS], top)


Scores = Callable[[Ensemble], np.ndarray]


def gain(before: Scores, after: Scores) -> Callable[[Sequence[tuple[Ensemble, Ensemble]]], Mean]:
    """Return a measure: by how many points more images are right after than before, sure over ensembles and over images."""

    def measure(pairs: Sequence[tuple[Ensemble, Ensemble]]) -> Mean:
        gained = np.array([after(runs) - before(runs) for _, runs in pairs])  # (ensembles, images)
        of_images = gained.mean(axis=0)
        return Mean(list(100 * gained.mean(axis=1)), variance_besides=1e4 * float(of_images.var(ddof=1)) / len(of_images))

    return measure


def scores(of: Callable[[Ensemble, str, int], np.ndarray], crops: str, top: int = 1) -> Scores:
    return lambda runs: of(runs, crops, top)


def gain_claim(id: str, says: str, paper: str, size: float, before: Scores, after: Scores) -> Claim:
    return Claim(
        id=f"ensemble-{id}",
        section="4.2.3",
        group="Variants of BN-x30, each ensemble of six",
        says=says,
        paper=paper,
        unit="points",
        reference=ARM,
        subject=ARM,
        select=ensembles,
        measure=gain(before, after),
        rule=Above(0, size),
    )


def table(root: Path, tier: str) -> Drawn | None:
    """List the errors of one crop and of many, alone and together, beside Figure 4's."""
    found = list(ensembles(root, ARM, tier).values())
    if not found:
        return None
    rows: Rows = (("prediction", "top-1 error, %", "top-5 error, %", "the paper, top-1 / top-5, %"),)
    of_paper = (ONE_CROP, MANY_CROPS, None, SIX_NETWORKS)
    predictions = ((alone, SINGLE), (alone, CROPS), (together, SINGLE), (together, CROPS))
    words = ("one network, one crop", "one network, many crops", "six networks, one crop", "six networks, many crops")
    for label, paper, (of, crops) in zip(words, of_paper, predictions):
        errors = [np.mean([100 * (1 - of(runs, crops, top).mean()) for runs in found]) for top in (1, 5)]
        rows += ((label, *(f"{error:.2f}" for error in errors), " / ".join(f"{error:g}" for error in paper) if paper else "-"),)
    return Drawn(rows, [run for runs in found for run in runs], f"n = {len(found)} ensembles.")


def answer_in_words(answers: Answers) -> str:
    """Say what crops, the ensemble and both gain."""
    crops, six, both = (answers[f"ensemble-{id}"] for id in ("crops", "six", "both"))
    if NOT_RUN in (crops.verdict, six.verdict):
        return ""
    return f"Many crops gain {in_words(crops)}, and six networks {in_words(six)} more; both together gain {in_words(both)}."


STUDY = Study(
    name="ensemble",
    title="Ensemble and crops",
    sections="4.2.3",
    question="What do many crops and an ensemble of six networks gain?",
    experiments=("inception_ensemble",),
    claims=(
        gain_claim(
            "crops",
            "one network: many crops gain over one",
            "3.2 points",
            ONE_CROP[0] - MANY_CROPS[0],
            scores(alone, SINGLE),
            scores(alone, CROPS),
        ),
        gain_claim(
            "six",
            "many crops: six networks gain over one",
            "1.9 points",
            MANY_CROPS[0] - SIX_NETWORKS[0],
            scores(alone, CROPS),
            scores(together, CROPS),
        ),
        gain_claim(
            "both",
            "six networks and many crops gain over one of each",
            "5.1 points",
            ONE_CROP[0] - SIX_NETWORKS[0],
            scores(alone, SINGLE),
            scores(together, CROPS),
        ),
        gain_claim(
            "both-top-5",
            "the same, the label among the five likeliest",
            "2.9 points",
            ONE_CROP[1] - SIX_NETWORKS[1],
            scores(alone, SINGLE, 5),
            scores(together, CROPS, 5),
        ),
    ),
    figures=(
        Figure(
            name="figure-4",
            title="Figure 4: errors of one crop and of many, of one network and of six",
            caption="Errors on the first 3,000 test images of CIFAR-10, means over ensembles; the paper's are of ImageNet, its 144 crops "
            "here 48. One network is the mean of the six. Probabilities are averaged arithmetically.",
            alt="A table of four rows: one network or six, one crop or many, with errors here and in the paper.",
            draw=table,
            experiments=("inception_ensemble",),
        ),
    ),
    in_words=answer_in_words,
)
