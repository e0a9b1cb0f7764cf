"""What the paper claims, what it printed, and the rule that we judge it by."""

from collections.abc import Sequence

from bn_repro.measures import measures
from bn_repro.measures.measures import difference, increase, over_subjects, reduction
from bn_repro.studies.covariate_shift import COVARIATE_SHIFT
from bn_repro.studies.section_4_2 import SECTION_4_2
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import Above, Below

PLAIN, BN = "mnist_sigmoid/none", "mnist_sigmoid/batch"  # both at the plain network's best point without momentum
PLAIN_BEST, BN_BEST = "mnist_best/plain_best", "mnist_best/bn_best"  # each at its own best point of the whole grid


def figure_1(suffix: str, where: str, reference: str, subject: str, control: str) -> Sequence[Claim]:
    """List Figure 1's claims for one choice of hyperparameters.

    The paper prints no size; "far more stable" is taken to mean at least twice.
    """
    stability = "far more stable (no number)"
    rows = (
        (
            "accuracy",
            "ends with the higher test accuracy",
            "higher (no number)",
            "percentage points",
            difference(measures.final_accuracy),
            Above(0),
        ),
        ("steps", "needs fewer steps to the final accuracy without BN", "fewer (no number)", "x", measures.speedup, Above(1)),
        (
            "median",
            "moves the median input of a sigmoid of the last hidden layer less",
            stability,
            "x",
            reduction(measures.median_path),
            Above(1, 2),
        ),
        ("width", "changes the 15-85 width of that input less", stability, "x", reduction(measures.width_path), Above(1, 2)),
        (
            "distance",
            "keeps that layer's inputs nearer to their final distribution",
            stability,
            "x",
            reduction(measures.distance_to_final),
            Above(1, 2),
        ),
    )
    return [
        Claim(f"fig1-{name}-{suffix}", "4.1", f"BN {statement} ({where})", paper, unit, reference, subject, measure, rule, control)
        for name, statement, paper, unit, measure, rule in rows
    ]


FAULTY, FAULTY_SCALED = "faulty_norm/outside_gradient_center", "faulty_norm/outside_gradient"

CLAIMS: tuple[Claim, ...] = (
    *figure_1("common", "no momentum, both at the best learning rate without BN", PLAIN, BN, "mnist_control/plain_common"),
    *figure_1("best", "each at its own best", PLAIN_BEST, BN_BEST, "mnist_control/plain_best"),
    *SECTION_4_2,
    *COVARIATE_SHIFT,
    Claim(
        "sec2-bias",
        "2",
        "If the gradient ignores the centering, the bias grows without bound",
        "grows indefinitely",
        "x from half time to end",
        FAULTY,
        FAULTY,
        over_subjects(measures.bias_growth),
        Above(1, 1.8),
        "faulty_norm/batch",
    ),
    Claim(
        "sec2-loss",
        "2",
        "... while the loss stands still",
        "no change",
        "relative change",
        FAULTY,
        FAULTY,
        over_subjects(measures.loss_change),
        Below(1e-3, 1e-2),
        "faulty_norm/none",
    ),
    Claim(
        "sec2-scaling",
        "2",
        "... and scaling as well makes it worse",
        "worse (no number)",
        "x the bias's norm",
        FAULTY,
        FAULTY_SCALED,
        increase(measures.final_bias_norm),
        Above(1),
        "faulty_norm/none",
    ),
    *(
        Claim(
            f"sec3.3-{name.replace('_', '-')}",
            "3.3",
            statement,
            "equal",
            "relative error",
            BN,
            BN,
            over_subjects(measures.scale_error(name)),
            Below(1e-3, 1e-2),
            PLAIN,
        )
        for name, statement in (
            ("output", "BN((aW)u) = BN(Wu), in every trained layer, a = 10"),
            ("input_gradient", "dBN((aW)u)/du = dBN(Wu)/du"),
            ("weight_gradient", "dBN((aW)u)/d(aW) = (1/a) dBN(Wu)/dW"),
        )
    ),
    Claim(
        "alg2-tracking",
        "3.1",
        "Moving averages track the accuracy that Algorithm 2's population statistics give",
        "tracks (no number)",
        "points apart",
        BN,
        BN,
        over_subjects(measures.tracking_error),
        Below(0.5, 2),
        PLAIN,
    ),
    Claim(
        "sec3.1-folding",
        "3.1",
        "At inference BN is an affine map that folds into the layer before it, exactly",
        "equal",
        "relative error",
        BN,
        BN,
        over_subjects(measures.folding_error),
        Below(1e-5, 1e-3),
        PLAIN,
    ),
)
