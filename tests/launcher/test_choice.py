"""Does `--only` find studies, experiments and claims, in the order in which verdicts come soonest, and refuse the rest in one line?"""

import math

import pytest

from bn_repro.launcher.choice import choose, ordered
from bn_repro.launcher.grids import arm_of, experiments
from bn_repro.launcher.reproduce import asked_for
from bn_repro.studies import CLAIMS, STUDIES


def unknown(experiment):
    return math.inf


def chosen(only, tier="quick"):
    choice = choose(tier, only, STUDIES, unknown)
    return [name.split("/")[0] for name in choice.experiments], choice.claims


def test_all_of_a_tier():
    names, claims = chosen(None)
    assert sorted(names) == sorted(name.split("/")[0] for name in experiments("quick")) and claims is None


def test_a_study_is_all_of_its_experiments_and_claims():
    names, claims = chosen("sigmoid_network", "long")
    study = next(study for study in STUDIES if study.name == "sigmoid_network")
    assert set(names) == set(study.experiments) and claims == {claim.id for claim in study.claims}


def test_an_experiment_shows_every_claim_that_needs_it():
    names, claims = chosen("mnist_sigmoid")
    assert names == ["mnist_sigmoid"] and claims == {claim.id for claim in CLAIMS if "mnist_sigmoid" in claim.experiments}


def test_an_experiment_with_its_tier_is_not_the_study_of_its_name():
    names, claims = chosen("covariate_shift/long", "long")
    assert names == ["covariate_shift"] and claims == chosen("covariate_shift", "quick")[1] - {
        claim.id for claim in CLAIMS if claim.experiments == {"covariate_shift_inception"}
    }
    assert set(chosen("covariate_shift", "long")[0]) == {"covariate_shift", "covariate_shift_inception"}


def test_a_claim_needs_its_experiments():
    names, claims = chosen("fig1-accuracy-best", "long")
    assert names == ["mnist_best"] and claims == {"fig1-accuracy-best"}


def test_of_a_claims_experiments_its_arms_alone_are_done():
    _, configs = asked_for("long", ["fig2-steps-bn_x5"])
    assert {arm_of(config) for config in configs} == {"inception/inception", "inception/bn_x5"}
    assert len(configs) == 15  # five seeds of each arm, and of the plain networks of the control


def test_several_names_are_done_together():
    choice, configs = asked_for("long", ["fig2-steps-bn_x5", "mnist_best", "lr_sweep/long"])
    assert sorted(choice.experiments) == ["inception/long", "lr_sweep/long", "mnist_best/long"]
    of_each = [asked_for("long", [name]) for name in ("fig2-steps-bn_x5", "mnist_best", "lr_sweep/long")]
    assert {config.name for config in configs} == {config.name for _, configs in of_each for config in configs}
    assert len(configs) == sum(len(configs) for _, configs in of_each)
    assert choice.claims == frozenset().union(*(choice.claims for choice, _ in of_each))


@pytest.mark.parametrize(
    "only, told",
    {
        "mnist_sigmod": "did you mean mnist_sigmoid?",
        "learning_rate": "did you mean learning_rates?",
        "fig1-acuracy-best": "did you mean fig1-accuracy-best?",
        "mnist_sigmoid/long": "no such study, experiment or claim",
        "mnist_protocol": "has no runs in tier quick, but in long",
        "tuning": "has no runs in tier quick, but in long and gpu",
    }.items(),
)
def test_what_is_not_there_is_refused_in_one_line(only, told):
    with pytest.raises(ValueError) as error:
        chosen(only)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"--only {only}: ") and told in line


def test_a_tier_without_experiments_is_refused():
    with pytest.raises(ValueError, match="tier nothing has no experiments"):
        choose("nothing", None, STUDIES, unknown)


def test_headline_studies_first_and_of_these_the_quickest():
    names = experiments("long")
    seconds = dict.fromkeys(names, 100.0) | {
        "mnist_sigmoid/long": 1.0,
        "mnist_map/long": 5.0,
        "inception_map/long": 1.0,
        "faulty_norm/long": 0.1,
    }
    order = ordered(names, STUDIES, seconds.get)
    assert sorted(order) == sorted(names) and order[:2] == ["mnist_sigmoid/long", "mnist_map/long"]
    headlined = {name for study in STUDIES if any(claim.headline for claim in study.claims) for name in study.experiments}
    is_headlined = [name.split("/")[0] in headlined for name in order]
    assert is_headlined == sorted(is_headlined, reverse=True) and not all(is_headlined)
    assert order.index("mnist_agreement/long") >= len(names) - 2  # of no study
