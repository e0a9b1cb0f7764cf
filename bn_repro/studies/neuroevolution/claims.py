"""What is claimed of virtual batch norm in evolution, how large it is, and which records answer it."""

from bn_repro.studies.neuroevolution.measures import (
    ES_SIGMA,
    GA_SIGMA,
    LAST,
    Measure,
    by_perturbing,
    fewer,
    more,
    of_subject,
    over_games,
    score_gained,
    score_learned,
)
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import Above, Below
from bn_repro.verdicts.selection import games_of

NONE, VBN = "policy_diversity/none", "policy_diversity/virtual_batch"
GA_INITIAL = "policy_diversity/ga_initial"
ES_NONE, ES_VBN, GA_NONE = (f"evolution_curves/{arm}" for arm in ("es_none", "es_virtual_batch", "ga_none"))
SECTION = "Salimans 2017, 2.2"
GROUP = "perturbed policies, in own episodes"


def of_perturbations(
    id: str,
    says: str,
    paper: str,
    unit: str,
    measure: Measure,
    rule: Above | Below,
    reference: str = NONE,
    subject: str = VBN,
    control: str | None = None,
    section: str = SECTION,
) -> Claim:
    return Claim(
        id=id,
        section=section,
        group=GROUP,
        says=says,
        paper=paper,
        unit=unit,
        reference=reference,
        subject=subject,
        control=control,
        select=games_of,
        measure=measure,
        rule=rule,
    )


CLAIMS = (
    of_perturbations(
        id="es-one-action-without",
        says="Without a norm, most policies perturbed by ES's sigma 0.02 take one action only",
        paper="always one action",
        unit="share",
        subject=NONE,
        measure=of_subject(ES_SIGMA, "episode_single_action"),
        rule=Above(0.5, 0.9),
    ),
    of_perturbations(
        id="es-one-action-with",
        says="With VBN, few of them do",
        paper="not so",
        unit="share",
        measure=of_subject(ES_SIGMA, "episode_single_action"),
        rule=Below(0.05, 0.25),
    ),
    of_perturbations(
        id="es-one-action-by-perturbing",
        says="Without a norm, perturbed policies take one action only more often than their random parent",
        paper="not measured",
        unit="share",
        subject=NONE,
        measure=by_perturbing(ES_SIGMA, "episode_single_action"),
        rule=Above(0, 0.1),
    ),
    of_perturbations(
        id="vbn-fewer-one-action",
        says="VBN: fewer perturbed policies take one action only",
        paper="none instead of all",
        unit="share",
        measure=fewer(ES_SIGMA, "episode_single_action"),
        rule=Above(0, 0.5),
        control=NONE,
    ),
    of_perturbations(
        id="vbn-entropy",
        says="VBN: the actions of a perturbed policy have more entropy, of the largest possible",
        paper="more",
        unit="share",
        measure=more(ES_SIGMA, "episode_entropy"),
        rule=Above(0, 0.1),
        control=NONE,
    ),
    of_perturbations(
        id="vbn-gradient",
        says="VBN: finite differences at sigma 0.02 agree better with the gradient of a smooth surrogate",
        paper="not measured",
        unit="correlation",
        measure=more(ES_SIGMA, "gradient_agreement", most=2),  # of two correlations
        rule=Above(0, 0.1),
        control=NONE,
    ),
    of_perturbations(
        id="ga-one-action",
        says="Without a norm, few policies perturbed by the GA's sigma 0.005 take one action only",
        paper="diverse policies",
        unit="share",
        reference=GA_INITIAL,
        subject=GA_INITIAL,
        measure=of_subject(GA_SIGMA, "episode_single_action"),
        rule=Below(0.25, 0.5),
        section="Such 2017",
    ),
    of_perturbations(
        id="ga-disagreement",
        says="Without a norm, policies perturbed by the GA's sigma 0.005 differ on the same states",
        paper="diverse policies",
        unit="share of states",
        reference=GA_INITIAL,
        subject=GA_INITIAL,
        measure=of_subject(GA_SIGMA, "disagreement"),
        rule=Above(0, 0.1),
        section="Such 2017",
    ),
    of_perturbations(
        id="vbn-fewer-one-action-trained",
        says="Around evolved parents too, VBN: fewer perturbed policies take one action only",
        paper="none instead of all",
        unit="share",
        reference=ES_NONE,
        subject=ES_VBN,
        measure=fewer(ES_SIGMA, "episode_single_action", LAST),
        rule=Above(0, 0.5),
    ),
    of_perturbations(
        id="es-vbn-score",
        says="ES scores higher with VBN, at the frames played here, random play being 0 and the published score 1",
        paper="needed to learn",
        unit="normalized score",
        reference=ES_NONE,
        subject=ES_VBN,
        measure=over_games(score_gained),
        rule=Above(0, 0.1),
    ),
    of_perturbations(
        id="ga-score",
        says="The GA without a norm ends higher than its initial policy, at the frames played here",
        paper="learns without VBN",
        unit="normalized score",
        reference=GA_NONE,
        subject=GA_NONE,
        measure=over_games(score_learned),
        rule=Above(0, 0.1),
        section="Such 2017",
    ),
)
