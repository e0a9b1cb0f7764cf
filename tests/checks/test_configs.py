"""Do checks know the data as it is, and do they tell knobs that ask for too much or change nothing?"""

import dataclasses

import pytest
from composed import composed, smoke

from bn_repro.checks.examples import EXAMPLES
from bn_repro.checks.runs import check, too_many, without_effect
from bn_repro.config import DATASETS
from bn_repro.data.images import MADE_UP, NUM_CLASSES, synthetic_patterns
from bn_repro.data.reviews import LABELS, distinct, made_up_reviews
from bn_repro.data.sources import DATASETS as SOURCES


def test_examples_are_what_is_loaded():
    assert set(EXAMPLES) == set(DATASETS) - {"image_folder"}
    for name, source in SOURCES.items():
        if EXAMPLES[name].shape:
            height, width, *channels = source.image_shape
            assert EXAMPLES[name].shape == (*channels, height, width)
    for name, made_up in MADE_UP.items():
        splits = synthetic_patterns(*made_up)
        known = EXAMPLES[name]
        assert (len(splits["train"][1]), len(splits["test"][1])) == (known.num_training, known.num_test)
        assert known.num_classes == NUM_CLASSES
    assert EXAMPLES["synthetic_text"].num_training == len(distinct(made_up_reviews()))
    assert EXAMPLES["imdb"].num_classes == EXAMPLES["synthetic_text"].num_classes == len(LABELS)


def with_data(config, **values):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **values))


def test_bounds_are_where_the_examples_end():
    validated = with_data(smoke("train.batch_size=200"), evaluate_on="validation", validation_size=1000)
    check(validated)
    with pytest.raises(ValueError, match="200 is more than the 199 training examples"):
        check(with_data(validated, validation_size=1001))
    with pytest.raises(ValueError, match="leaves none of the 1200"):
        check(with_data(validated, validation_size=1200))
    assert not list(too_many(smoke("probe.batch_size=600", "probe.num_layers=4", "data.evaluate_size=600", "probe.num_units=100")))
    excessive = smoke("probe.batch_size=601", "probe.num_layers=5", "data.evaluate_size=601", "probe.num_units=101")
    assert {name for name, _ in too_many(excessive)} == {"probe.batch_size", "probe.num_layers", "data.evaluate_size", "probe.num_units"}


@pytest.mark.parametrize(
    "overrides, name, is_idle",
    [
        (("train.schedule=cosine",), "train.final_lr_ratio", False),
        ((), "train.final_lr_ratio", True),
        (("norm=none",), "network.norm_eps", True),
        (("norm=layer",), "network.norm_eps", False),
        (("norm=layer",), "network.norm_momentum", True),
        (("norm=noisy_batch",), "network.keep_bias", False),
        (("network.init=he",), "network.init_std", True),
        (("data.evaluate_on=validation",), "data.validation_size", False),
        (("probe.jacobian_every=10",), "probe.num_layers", False),
    ],
)
def test_what_changes_nothing(overrides, name, is_idle):
    assert (name in dict(without_effect(smoke(*overrides)))) == is_idle


def test_inception_takes_no_nonlinearity_of_whole_layers():
    with pytest.raises(ValueError, match="network=inception are shared; take tanh"):
        check(composed("experiment=inception/smoke", "arm=bn_x5", "seed=0", "network.nonlinearity=normalized_tanh"))


def test_inception_takes_colours():
    config = composed("experiment=inception/smoke", "arm=bn_x5", "seed=0")
    check(config)
    with pytest.raises(ValueError, match="colour images, and those of mnist are grey; data=cifar10 or synthetic_colour has them"):
        check(dataclasses.replace(config, data=dataclasses.replace(config.data, name="mnist")))
