"""One file a question; here they are listed in the order of the report."""

from bn_repro.studies import (
    batch_size,
    changes,
    covariate_shift,
    depth,
    dropout,
    ensemble,
    factorial,
    faulty_norm,
    identities,
    inception,
    initialization,
    learning_rates,
    neuroevolution,
    sigmoid_network,
    step_cost,
    text_classifier,
    tuning,
)
from bn_repro.studies.study import Study
from bn_repro.verdicts.claim import Claim

STUDIES: tuple[Study, ...] = (
    inception.STUDY,
    factorial.STUDY,
    changes.STUDY,
    ensemble.STUDY,
    initialization.STUDY,
    learning_rates.STUDY,
    sigmoid_network.STUDY,
    covariate_shift.STUDY,
    depth.STUDY,
    dropout.STUDY,
    batch_size.STUDY,
    step_cost.STUDY,
    identities.STUDY,
    faulty_norm.STUDY,
    text_classifier.STUDY,
    neuroevolution.STUDY,
    tuning.STUDY,
)
CLAIMS: tuple[Claim, ...] = tuple(claim for study in STUDIES for claim in study.claims)
