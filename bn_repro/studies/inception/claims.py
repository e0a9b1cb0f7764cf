"""What section 4.2 claims of its arms, at each base and by each reading of the decay."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from bn_repro.measures.accuracy import CHANCE, accuracy_difference, failed_to_train, final_accuracy
from bn_repro.measures.contrasts import over_subjects, share_of_seeds
from bn_repro.studies.inception.measures import (
    LABELS,
    OWN_DECAY,
    PAPERS_RATE,
    TUNED,
    XAVIER,
    XAVIER_LOWER_RATE,
    Base,
    speedup_to_target,
)
from bn_repro.verdicts.claim import ADDED_LATER, Claim
from bn_repro.verdicts.rules import Above, Below

FASTER = {"bn_baseline": 2.3, "bn_x5": 14.8, "bn_x30": 11.5}  # times fewer steps to 72.2 %
SAME_RATE = {"bn_x5": "inception_x5", "bn_x30": "inception_x30"}
PAPER_AT_RATE = {"inception_x5": "machine infinity without BN", "inception_x30": "not published"}
HIGHER = (("inception", "bn_baseline", 0.5), ("bn_baseline", "bn_x5", 0.3), ("bn_x5", "bn_x30", 1.8))  # points of the best accuracy
HIGHER_THAN_PLAIN = {"bn_x5": 0.8, "bn_x30": 2.6}  # points of the best accuracy
HEADLINES = {
    "fig2-steps-bn_x5": "BN-x5, tuned base rate: fewer steps",
    "fig2-steps-bn_x5-paper-rate": "BN-x5, the paper's base rate: fewer steps",
    "fig3-best-bn_baseline": "BN-Baseline, tuned rate: better accuracy",
    "fig3-best-bn_baseline-paper-rate": "BN-Baseline, paper's rate: better accuracy",
}
AFTER_LOOK = {
    "fig2-steps-bn_x30-same-rate": "Before, INCONCLUSIVE at 0.944 [0.751, ∞] x: the plain network stopped at half of the steps, before "
    "BN-x30 arrives. Now it trains all of them; where each seed gives only a bound, there is no estimate.",
}


def claim(
    id: str, base: Base, says: str, paper: str, unit: str, arms: tuple[str, str], measure: Callable, rule: Above | Below, **rest
) -> Claim:
    """Declare a claim on two arms; at the tuned base plain networks of other seeds stand for both, unless it names another control."""
    reference, subject = map(base.arm, arms)
    plain = TUNED.arm("inception") if base is TUNED else None
    id += base.suffix
    given = {
        "control": plain,
        "control_reference": plain,
        "headline": HEADLINES.get(id, ""),
        "after_look": AFTER_LOOK.get(id, ""),
        "section": "4.2",
        "group": base.title,
        **rest,
    }
    return Claim(id=id, says=says, paper=paper, unit=unit, reference=reference, subject=subject, measure=measure, rule=rule, **given)


def fewer_steps(base: Base, arm: str, against_same_rate: bool = True) -> Sequence[Claim]:
    """Claim that an arm needs fewer steps than the plain network, and than the plain network at the arm's own higher rate."""
    size, label, plain_at_rate = FASTER[arm], LABELS[arm], SAME_RATE.get(arm)
    measure, rule = speedup_to_target(base.targets), Above(1, size)
    says = f"{label} needs fewer steps to 95 % of the plain network's accuracy"
    against_plain = claim(f"fig2-steps-{arm}", base, says, f"{size:g} x fewer", "x", ("inception", arm), measure, rule)
    if plain_at_rate is None or not against_same_rate:
        return (against_plain,)
    label = LABELS[plain_at_rate]
    says = f"... fewer than {label}, without BN at the same rate"
    return (
        against_plain,
        claim(f"fig2-steps-{arm}-same-rate", base, says, PAPER_AT_RATE[plain_at_rate], "x", (plain_at_rate, arm), measure, rule),
    )


def higher(base: Base, below: str, above: str, gain: float) -> Claim:
    says = f"{LABELS[above]} ends higher than {LABELS[below]}"
    return claim(f"fig3-best-{above}", base, says, f"{gain:g} points", "points", (below, above), accuracy_difference, Above(0, gain))


def higher_at_same_rate(base: Base, arm: str) -> Claim:
    """Claim that an arm ends as far above the plain network at its own higher rate as above the one at the base's."""
    plain_at_rate, gain = SAME_RATE[arm], HIGHER_THAN_PLAIN[arm]
    return claim(
        f"fig3-best-{arm}-same-rate",
        base,
        says=f"... higher than {LABELS[plain_at_rate]}, without BN at the same rate",
        paper=PAPER_AT_RATE[plain_at_rate],
        unit="points",
        arms=(plain_at_rate, arm),
        measure=accuracy_difference,
        rule=Above(0, gain),
        after_look=ADDED_LATER,
    )


def fails_at_x5(base: Base) -> Claim:
    return claim(
        "fig2-fails-x5",
        base,
        says="Without BN at 5 times the learning rate the training fails (infinite, or below 15 %)",
        paper="machine infinity",
        unit="of the seeds",
        arms=("inception_x5", "inception_x5"),
        measure=share_of_seeds(failed_to_train),
        rule=Above(0.5, 0.9),
        control=base.arm("bn_x5"),
        control_reference=None,
    )


def highest(base: Base) -> Iterator[Claim]:
    """Claim that each arm ends higher than the one before it and than the plain network at its own rate."""
    for below, above, gain in HIGHER:
        yield higher(base, below, above, gain)
        if above in SAME_RATE:
            yield higher_at_same_rate(base, above)


def against_lower_rate(claim: Claim, says: str) -> Claim:
    """Return a claim at Xavier's initial weights against the plain network at a rate at which more of its seeds may train."""
    return replace(
        claim,
        id=f"{claim.id}-lower-rate",
        says=f"{says} Inception at 0.018, the next lower rate",
        reference=XAVIER_LOWER_RATE,
        after_look="Asked when two of five plain networks had not trained at 0.04; the plain runs at 0.018 are younger than the claim.",
    )


SIGMOID_CLAIMS = (
    claim(
        "fig3-best-bn_x5_sigmoid",
        TUNED,
        says="BN-x5 ends higher with ReLU than with sigmoid",
        paper="3.2 points",
        unit="points",
        arms=("bn_x5_sigmoid", "bn_x5"),
        measure=accuracy_difference,
        rule=Above(0, 3.2),
        after_look=ADDED_LATER,
    ),
    claim(
        "fig2-sigmoid-bn",
        TUNED,
        says="Inception with sigmoid trains with BN (chance is 10 %)",
        paper="69.8 %, chance 0.1 %",
        unit="%",
        arms=("bn_x5_sigmoid", "bn_x5_sigmoid"),
        measure=over_subjects(final_accuracy),
        rule=Above(100 * CHANCE, 200 * CHANCE),
        control="inception/inception_sigmoid",
        control_reference=None,
        headline="Saturating nonlinearities train with BN",
    ),
    claim(
        "fig2-sigmoid-plain",
        TUNED,
        says="... and stays at chance without",
        paper="at chance",
        unit="%",
        arms=("inception_sigmoid", "inception_sigmoid"),
        measure=over_subjects(final_accuracy),
        rule=Below(120 * CHANCE, 150 * CHANCE),
        control="inception/bn_x5_sigmoid",
        control_reference=None,
    ),
)

CLAIMS = (
    *(claim for arm in FASTER for claim in fewer_steps(TUNED, arm)),
    *highest(TUNED),
    fails_at_x5(TUNED),
    *SIGMOID_CLAIMS,
    *(claim for arm in FASTER for claim in fewer_steps(OWN_DECAY, arm, against_same_rate=False)),
    *(higher(OWN_DECAY, *arms) for arms in HIGHER),
    *(claim for arm in FASTER for claim in fewer_steps(PAPERS_RATE, arm)),
    *highest(PAPERS_RATE),
    fails_at_x5(PAPERS_RATE),
    *(claim for arm in ("bn_baseline", "bn_x5") for claim in fewer_steps(XAVIER, arm, against_same_rate=False)),
    *(higher(XAVIER, *arms) for arms in HIGHER[:2]),
    *(against_lower_rate(claim, "BN-Baseline needs fewer steps to the same accuracy than") for claim in fewer_steps(XAVIER, "bn_baseline")),
    against_lower_rate(higher(XAVIER, *HIGHER[0]), "BN-Baseline ends higher than"),
)
