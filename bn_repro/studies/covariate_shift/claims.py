"""The paper's explanation in every definition in use, and its rivals, each a claim for each network (sections 1, 3.3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bn_repro.measures.accuracy import accuracy_difference
from bn_repro.measures.contrasts import Pairs, difference, increase, reduction
from bn_repro.measures.drift import BEFORE_NORM
from bn_repro.studies.covariate_shift.measures import (
    in_phase,
    loss_range,
    mean_training_loss,
    median_along_gradient,
    median_drift,
    median_shift,
    median_spectrum,
    unevenness,
)
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import Above, Below
from bn_repro.verdicts.statistics import Mean, Sample

SIZE = Above(1, 1.25)  # no source prints one; a fifth less is set to be the least that counts as less
COSINE_SIZE = Above(0, 0.05)

SHIFT = "reduced"
NOT_SHIFT = "reduced; Santurkar et al. 2018: not reduced"
SMOOTHER = "smoother (Santurkar et al. 2018)"
NEAR_ONE = "conjectured, not tested"
EVEN = "even (Bjorck et al. 2018)"
UNSTABLE = "less stable than no BN (Santurkar et al. 2018)"
AS_FAST = "about as fast as BN (Santurkar et al. 2018)"


@dataclass(frozen=True)
class Network:
    """A network that the study trains, and what is set before for it.

    Args:
        points: the least difference of accuracies that would matter, in percentage points.
        phases: "fitting" before the training loss falls below 0.05 nats, "fitted" after.
    """

    suffix: str
    name: str
    experiment: str
    points: float
    phases: tuple[str, ...]


NETWORKS = (
    Network("mlp", "sigmoid network", "covariate_shift", points=0.2, phases=("fitting", "fitted")),
    Network("inception", "small Inception", "covariate_shift_inception", points=1.0, phases=("fitting",)),
)
PHASE_WORDS = {"fitting": "while it fits the data", "fitted": "once it has fitted the data"}


def of_bn(network: Network) -> Sequence[Claim]:
    """List what BN does by each definition."""
    plain, bn = f"{network.experiment}/none", f"{network.experiment}/batch"

    def claim(
        kind: str,
        id: str,
        says: str,
        paper: str,
        measure: Callable[[Pairs], Sample | None],
        rule: Above = SIZE,
        unit: str = "x",
        section: str = "1",
        headline: str = "",
    ) -> Claim:
        return Claim(
            id=f"ics-{kind}-{id}-{network.suffix}",
            section=section,
            group=f"{network.name[0].upper()}{network.name[1:]}, {GROUPS[kind]}",
            says=says,
            paper=paper,
            unit=unit,
            reference=plain,
            subject=bn,
            control=plain,
            measure=measure,
            rule=rule,
            headline=headline if network.suffix == "mlp" else "",
        )

    def drift(id: str, says: str, measure: str, **rest) -> Claim:
        return claim("drift", id, says, SHIFT, reduction(median_drift(measure)), **rest)

    def drift_before(id: str, says: str, measure: str) -> Claim:
        return claim("before", id, says, SHIFT, reduction(median_drift(measure, BEFORE_NORM)))

    claims = [
        drift("path", "the median moves less", "median_path"),
        drift("wasserstein-path", "Wasserstein-1 from record to record", "wasserstein_path"),
        drift("wasserstein-final", "Wasserstein-1 to the final distribution", "wasserstein_to_final"),
        drift(
            "ks-path",
            "Kolmogorov-Smirnov from record to record",
            "kolmogorov_smirnov_path",
            headline="Sigmoid network: steadier distributions",
        ),
        drift("ks-final", "Kolmogorov-Smirnov to the final distribution", "kolmogorov_smirnov_to_final"),
        drift_before("path", "the median moves less", "median_path"),
        drift_before("ks-path", "Kolmogorov-Smirnov from record to record", "kolmogorov_smirnov_path"),
        drift_before("ks-final", "Kolmogorov-Smirnov to the final distribution", "kolmogorov_smirnov_to_final"),
    ]
    for phase in network.phases:
        words = PHASE_WORDS[phase]
        claims += [
            claim("gradient", f"l2-{phase}", f"l2, {words}", NOT_SHIFT, in_phase(phase, median_shift("shift"), reduction)),
            claim(
                "gradient",
                f"relative-{phase}",
                f"l2 over the gradient's own norm, {words}",
                NOT_SHIFT,
                in_phase(phase, median_shift("relative"), reduction),
                headline="Sigmoid network: BN shifts gradients less" if phase == "fitting" else "",
            ),
            claim(
                "gradient",
                f"cosine-{phase}",
                f"cosine, {words}",
                NOT_SHIFT,
                in_phase(phase, median_shift("cosine"), difference),
                rule=COSINE_SIZE,
                unit="of the cosine",
            ),
            claim("landscape", f"loss-{phase}", f"the loss varies less, {words}", SMOOTHER, in_phase(phase, loss_range, reduction)),
            claim(
                "landscape",
                f"gradient-{phase}",
                f"the gradient varies less (predictiveness), {words}",
                SMOOTHER,
                in_phase(phase, median_along_gradient("gradient_change_max"), reduction),
            ),
            claim(
                "landscape",
                f"beta-{phase}",
                f"smaller effective beta-smoothness, {words}",
                SMOOTHER,
                in_phase(phase, median_along_gradient("beta_smoothness"), reduction),
            ),
        ]
    return [
        *claims,
        claim("jacobian", "one", "nearer to 1", NEAR_ONE, reduction(median_spectrum("distance_from_one")), section="3.3"),
        claim("jacobian", "spread", "nearer to one another", NEAR_ONE, reduction(median_spectrum("spread")), section="3.3"),
        claim("depth", "activations", "activations", EVEN, reduction(unevenness("affine"))),
        claim("depth", "gradients", "gradients with respect to them", EVEN, reduction(unevenness("affine_gradient"))),
    ]


GROUPS = {
    "drift": "BN makes the inputs of nonlinearities drift less",
    "before": "BN makes its own inputs drift less",
    "gradient": "BN changes a layer's gradient less when the layers below are updated",
    "landscape": "BN makes the landscape along the gradient smoother",
    "jacobian": "BN brings the singular values of layer Jacobians together",
    "depth": "BN keeps magnitudes more alike over the depth",
    "noise": "noise after BN undoes stability but not BN's gain",
}


def of_noise(network: Network) -> Sequence[Claim]:
    """List how the network trains when noise after BN undoes the stability of its distributions."""
    plain, bn, noisy, noise = (f"{network.experiment}/{norm}" for norm in ("none", "batch", "noisy_batch", "noisy_none"))
    group = f"{network.name[0].upper()}{network.name[1:]}, {GROUPS['noise']}"

    def claim(id: str, says: str, paper: str, reference: str, measure: Callable, rule: Above | Below, unit: str = "points") -> Claim:
        return Claim(
            id=f"ics-noise-{id}-{network.suffix}",
            section="1",
            group=group,
            says=says,
            paper=paper,
            unit=unit,
            reference=reference,
            subject=noisy,
            control=noise if reference == bn else plain,
            control_reference=plain if reference == noise else None,
            measure=measure,
            rule=rule,
        )

    higher, as_high = Above(0, network.points), Below(network.points, 3 * network.points)
    drift = increase(median_drift("kolmogorov_smirnov_path"))
    return (
        claim("drift", "noisy BN drifts more than no BN (Kolmogorov-Smirnov)", UNSTABLE, plain, drift, SIZE, unit="x"),
        claim("plain", "noisy BN ends above no BN", AS_FAST, plain, accuracy_difference, higher),
        claim("bn", "noisy BN ends as high as BN", AS_FAST, bn, loss_of_accuracy, as_high, unit="points lost"),
        claim(
            "loss",
            "noisy BN's mean training loss is at most a quarter above BN's",
            AS_FAST,
            bn,
            increase(mean_training_loss),
            Below(1.25, 1.5),
            unit="x",
        ),
        claim("noise", "noisy BN ends above noise without BN", AS_FAST, noise, accuracy_difference, higher),
    )


def loss_of_accuracy(pairs: Pairs) -> Mean:
    """Average reference minus subject in percentage points."""
    return accuracy_difference([(subject, reference) for reference, subject in pairs])


COVARIATE_SHIFT: tuple[Claim, ...] = tuple(claim for network in NETWORKS for claim in (*of_bn(network), *of_noise(network)))
