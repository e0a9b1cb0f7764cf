"""Do the paper's exact statements hold in trained networks: scale invariance, Algorithm 2, folding? (sections 3.1, 3.3)"""

from collections.abc import Callable

import numpy as np

from bn_repro.measures.contrasts import over_subjects
from bn_repro.records.record import Run
from bn_repro.studies.study import Answers, Study
from bn_repro.verdicts.claim import ADDED_LATER, Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import Below

BN = "mnist_sigmoid/batch"


def scale_error(name: str) -> Callable[[Run], float]:
    """Return a measure of section 3.3: the relative error of the named identity when W becomes 10 W."""
    return lambda run: run.summary.get("scale_invariance", {}).get(name, np.inf)


def tracking_error(run: Run) -> float:
    """Return the distance between accuracy by moving averages and by Algorithm 2, in percentage points."""
    return 100 * abs(run.summary["accuracy_moving_averages"] - run.summary["accuracy"])


def folding_error(run: Run) -> float:
    """Return the relative output error of the folded network; infinite if not everything was folded."""
    return run.summary["folding_error"] if run.summary.get("num_folded") == run.summary["num_batch_norms"] else np.inf


def of_trained_networks(
    id: str,
    section: str,
    says: str,
    paper: str,
    unit: str,
    measure: Callable[[Run], float],
    rule: Below,
    headline: str = "",
    arm: str = BN,
    group: str = "Trained sigmoid network of section 4.1",
    after_look: str = "",
) -> Claim:
    """Declare a statement about networks with BN alone; without BN it has no meaning, so that there is no negative control."""
    return Claim(
        id=id,
        section=section,
        group=group,
        says=says,
        paper=paper,
        unit=unit,
        reference=arm,
        subject=arm,
        measure=over_subjects(measure),
        rule=rule,
        headline=headline,
        after_look=after_look,
    )


def largest_scale_error(run: Run) -> float:
    """Return the largest relative error of the three identities of section 3.3."""
    return float(np.max(list(run.summary.get("scale_invariance", {}).values()) or np.inf))


def of_inception(suffix: str, label: str, arm: str) -> Claim:
    return of_trained_networks(
        id=f"sec3.3-inception{suffix}",
        section="3.3",
        says=f"{label}: the three identities of section 3.3, the largest error of them",
        paper="equal",
        unit="relative error",
        measure=largest_scale_error,
        rule=Below(1e-3, 1e-2),
        arm=arm,
        group="Trained small Inception of section 4.2",
        after_look=ADDED_LATER,
    )


def answer_in_words(answers: Answers) -> str:
    return (
        f"Folding BN into the layer before it keeps outputs to a {in_words(answers['sec3.1-folding'])}, which is rounding, and so does, to "
        f"{in_words(answers['sec3.3-output'])}, multiplying the weights before BN by ten. Accuracies by moving averages and by Algorithm 2 "
        f"are {in_words(answers['alg2-tracking'])}."
    )


STUDY = Study(
    name="identities",
    title="Exact properties of BN",
    sections="3.1, 3.3",
    question="Do scale invariance, Algorithm 2 and folding hold in trained networks?",
    experiments=("mnist_sigmoid",),
    claims=(
        of_trained_networks(
            id="sec3.3-output",
            section="3.3",
            says="BN((aW)u) = BN(Wu), in every layer, a = 10",
            paper="equal",
            unit="relative error",
            measure=scale_error("output"),
            rule=Below(1e-3, 1e-2),
        ),
        of_trained_networks(
            id="sec3.3-input-gradient",
            section="3.3",
            says="dBN((aW)u)/du = dBN(Wu)/du",
            paper="equal",
            unit="relative error",
            measure=scale_error("input_gradient"),
            rule=Below(1e-3, 1e-2),
        ),
        of_trained_networks(
            id="sec3.3-weight-gradient",
            section="3.3",
            says="dBN((aW)u)/d(aW) = (1/a) dBN(Wu)/dW",
            paper="equal",
            unit="relative error",
            measure=scale_error("weight_gradient"),
            rule=Below(1e-3, 1e-2),
        ),
        of_trained_networks(
            id="alg2-tracking",
            section="3.1",
            says="Moving averages track the accuracy that Algorithm 2's population statistics give",
            paper="tracks",
            unit="points apart",
            measure=tracking_error,
            rule=Below(0.5, 2),
        ),
        of_trained_networks(
            id="sec3.1-folding",
            section="3.1",
            says="At inference BN is an affine map that folds into the layer before it, exactly",
            paper="equal",
            unit="relative error",
            measure=folding_error,
            rule=Below(1e-5, 1e-3),
            headline="At inference BN folds away exactly",
        ),
        of_inception("", "BN-Baseline", "inception/bn_baseline"),
        of_inception("-sigmoid", "BN-x5-Sigmoid, of whose variances eps is a larger part", "inception/bn_x5_sigmoid"),
    ),
    figures=(),
    in_words=answer_in_words,
)
