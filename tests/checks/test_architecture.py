"""Is what a config alone says of a network what the built network is?"""

import dataclasses
import itertools

import pytest
import torch
from composed import composed

from bn_repro.checks.architecture import STEMS as STEM_SIZES
from bn_repro.checks.architecture import largest_weight, last_map_side, layer_names, parameter_names
from bn_repro.config import NORMS, STEMS
from bn_repro.experiments.text_tasks import build_encoder, build_head
from bn_repro.networks import NormedLayer, PoolingClassifier, TextClassifier, build_network
from bn_repro.networks.awd_lstm import LanguageModel
from bn_repro.networks.text_classifier import PooledClassifier

SIGMOID_MLP = composed("experiment=mnist_sigmoid/smoke", "norm=batch", "seed=0")
INCEPTION = composed("experiment=inception/smoke", "arm=bn_x5", "seed=0")
TEXT_CLASSIFIER = composed("experiment=text_head/smoke", "norm=batch", "seed=0")


def built(network, image_shape=(3, 32, 32)):
    with torch.device("meta"):
        return build_network(network, image_shape, 10, 0)


def assert_named(network):
    module = built(network)
    assert list(parameter_names(network)) == [name for name, _ in module.named_parameters()]
    *layers, last = layer_names(network)
    assert layers == [name for name, each in module.named_modules() if isinstance(each, NormedLayer)]
    assert isinstance(module.get_submodule(last), torch.nn.Linear)


@pytest.mark.parametrize("norm", NORMS)
def test_parameters_of_sigmoid_networks(norm):
    for depth, keep_bias in ((1, False), (4, True)):
        assert_named(dataclasses.replace(SIGMOID_MLP.network, norm=norm, depth=depth, keep_bias=keep_bias))


@pytest.mark.parametrize("norm", NORMS)
def test_parameters_of_inception(norm):
    for merge_reductions, (stem, side) in itertools.product((True, False), (("separable", None), ("small", 4))):
        options = {"merge_reductions": merge_reductions, "stem": stem, "per_activation_size": side}
        assert_named(dataclasses.replace(INCEPTION.network, norm=norm, **options))


@pytest.mark.parametrize("norm", ("none", "batch", "layer"))
@pytest.mark.parametrize("is_frozen", (False, True))
def test_parameters_of_text_classifiers(norm, is_frozen):
    network = dataclasses.replace(TEXT_CLASSIFIER.network, norm=norm, is_frozen=is_frozen)
    with torch.device("meta"):
        head = build_head(PooledClassifier if is_frozen else PoolingClassifier, network, 2, 0)
        module = head if is_frozen else TextClassifier(build_encoder(network, TEXT_CLASSIFIER.data.vocabulary_size, 0), head)
    assert list(parameter_names(network)) == [name for name, _ in module.named_parameters()]
    largest = max(p.numel() for p in module.parameters())
    assert largest_weight(dataclasses.replace(TEXT_CLASSIFIER, network=network), ()) == largest


def test_parameters_of_language_models():
    config = composed("experiment=text_language_model/smoke", "seed=0")
    with torch.device("meta"):
        module = LanguageModel(build_encoder(config.network, config.data.vocabulary_size, 0), 2)
    assert list(parameter_names(config.network)) == [name for name, _ in module.named_parameters()]
    assert largest_weight(config, ()) == max(p.numel() for p in module.parameters())


def test_largest_matrices():
    for depth, width in ((1, 7), (3, 100), (2, 1000)):
        network = dataclasses.replace(SIGMOID_MLP.network, depth=depth, width=width)
        largest = max(p.numel() for p in built(network, (28, 28)).parameters())
        assert largest_weight(dataclasses.replace(SIGMOID_MLP, network=network), (28, 28)) == largest
    for width in (0.5, 1.0, 2.0):
        network = dataclasses.replace(INCEPTION.network, width=width)
        largest = max(p.numel() for p in built(network).parameters())
        assert largest_weight(dataclasses.replace(INCEPTION, network=network), (3, 32, 32)) == pytest.approx(largest, rel=0.2)


def test_sides_of_the_last_maps():
    """What a forward pass of a narrow network has, or that it fails, for all stems, strides and some sides."""
    assert set(STEM_SIZES) == set(STEMS)
    for stem, stride, side in itertools.product(STEMS, (1, 2, 5, 12, 16), (32, 33, 64)):
        network = dataclasses.replace(INCEPTION.network, stem=stem, stem_stride=stride, width=0.01, norm="none")
        module, seen = build_network(network, (3, side, side), 10, 0), []
        module.inception.register_forward_hook(lambda _, __, maps, seen=seen: seen.append(maps.shape[-1]))
        try:
            with torch.no_grad():
                module(torch.zeros(1, 3, side, side))
        except RuntimeError:
            seen.append(0)
        assert last_map_side(network, side) == seen[0], (stem, stride, side)
