"""Is it internal covariate shift: the paper's explanation in every definition in use, and its rivals, each a row (sections 1, 3.3)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bn_repro.measures.measures import difference, final_accuracy, increase, reduction
from bn_repro.studies import shift
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import Above
from bn_repro.verdicts.selection import runs_of_arms
from bn_repro.verdicts.statistics import Estimate

NETWORKS = (("mlp", "sigmoid network", "covariate_shift"), ("inception", "small Inception", "covariate_shift_inception"))
SIZE = 1.25  # no source prints one; a fifth less is set to be the least that counts as less
COSINE_SIZE = 0.05


class Row(NamedTuple):
    """One definition: a measure, and when it bears the statement out."""

    id: str
    section: str
    statement: str
    paper: str
    measure: Callable[[Any], Estimate]
    unit: str = "x"
    rule: Above = Above(1, SIZE)


SHIFT = "reduced (the paper; no number)"
NOT_SHIFT = "reduced (the paper); not reduced (Santurkar et al. 2018)"
SMOOTHER = "smoother (Santurkar et al. 2018)"
NEAR_ONE = "conjectured, not tested (the paper)"
EVEN = "even (Bjorck et al. 2018)"
AS_FAST = "less stable, as fast (Santurkar et al. 2018)"


def drift(measure: str) -> Callable[[Any], Estimate]:
    return reduction(shift.median_drift(measure))


# fmt: off
DRIFT = (
    Row("drift-path", "1", "BN moves the median of a layer's inputs less", SHIFT, drift("median_path")),
    Row("drift-wasserstein-path", "1", "... (Wasserstein-1 from record to record)", SHIFT, drift("wasserstein_path")),
    Row("drift-wasserstein-final", "1", "... (Wasserstein-1 to the final distribution)", SHIFT, drift("wasserstein_to_final")),
    Row("drift-ks-path", "1", "... (Kolmogorov-Smirnov from record to record)", SHIFT, drift("kolmogorov_smirnov_path")),
    Row("drift-ks-final", "1", "... (Kolmogorov-Smirnov to the final distribution)", SHIFT, drift("kolmogorov_smirnov_to_final")),
)
GRADIENT_SHIFT = (
    Row("gradient-l2", "1", "BN changes a layer's gradient less when the layers below are updated (l2)", NOT_SHIFT,
        reduction(shift.median_shift("shift"))),
    Row("gradient-relative", "1", "... (l2 over the gradient's own norm)", NOT_SHIFT, reduction(shift.median_shift("relative"))),
    Row("gradient-cosine", "1", "... (cosine)", NOT_SHIFT, difference(shift.median_shift("cosine")), "of the cosine",
        Above(0, COSINE_SIZE)),
)
LANDSCAPE = (
    Row("landscape-loss", "1", "BN makes the loss vary less along the gradient", SMOOTHER, reduction(shift.loss_range)),
    Row("landscape-gradient", "1", "BN makes the gradient vary less along itself (predictiveness)", SMOOTHER,
        reduction(shift.median_along_gradient("gradient_change_max"))),
    Row("landscape-beta", "1", "... (effective beta-smoothness)", SMOOTHER, reduction(shift.median_along_gradient("beta_smoothness"))),
)
JACOBIAN = (
    Row("jacobian-one", "3.3", "BN brings the singular values of layer Jacobians nearer to 1", NEAR_ONE,
        reduction(shift.median_spectrum("distance_from_one"))),
    Row("jacobian-spread", "3.3", "... (and to one another, whatever their scale)", NEAR_ONE,
        reduction(shift.median_spectrum("spread"))),
)
DEPTH = (
    Row("depth-activations", "1", "BN keeps activations more alike in size over the depth", EVEN, reduction(shift.unevenness("affine"))),
    Row("depth-gradients", "1", "BN keeps gradients in them more alike in size over the depth", EVEN,
        reduction(shift.unevenness("affine_gradient"))),
)
UNSTABLE = Row("noisy-drift", "1", "Noisy BN has less stable distributions than no BN", AS_FAST,
               increase(shift.median_drift("kolmogorov_smirnov_path")))
KEPT = (
    Row("kept-accuracy", "1", "Noisy BN all the same keeps at least half of BN's gain in accuracy", AS_FAST, shift.accuracy_above_middle,
        "points past the middle", Above(0)),
    Row("kept-loss", "1", "... (in training loss)", AS_FAST, shift.loss_below_middle, "nats past the middle", Above(0)),
)
HELPS = Row("noisy-none", "1", "Noisy BN ends higher than no BN with the same noise", AS_FAST, difference(final_accuracy),
            "percentage points", Above(0))
# fmt: on
OF_BN = (*DRIFT, *GRADIENT_SHIFT, *LANDSCAPE, *JACOBIAN, *DEPTH)


def of_network(suffix: str, network: str, experiment: str) -> Sequence[Claim]:
    """List what BN does by each definition, and how the network trains when noise after BN undoes it, for one network."""
    plain, bn, noisy, noise = (f"{experiment}/{norm}" for norm in ("none", "batch", "noisy_batch", "noisy_none"))
    control = f"{experiment}_control/none"

    def claim(row: Row, reference: str, subject: str, **rest: Any) -> Claim:
        id, statement = f"ics-{row.id}-{suffix}", f"{row.statement} ({network})"
        return Claim(id, row.section, statement, row.paper, row.unit, reference, subject, row.measure, row.rule, control, **rest)

    return [
        *(claim(row, plain, bn) for row in OF_BN),
        claim(UNSTABLE, plain, noisy),
        *(claim(row, f"{experiment}/none+batch", noisy, select=runs_of_arms) for row in KEPT),
        claim(HELPS, noise, noisy, control_reference=plain),
    ]


COVARIATE_SHIFT: tuple[Claim, ...] = tuple(claim for network in NETWORKS for claim in of_network(*network))
