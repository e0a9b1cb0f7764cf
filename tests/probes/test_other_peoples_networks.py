"""Are measurements right on networks that check-point, change their inputs, share weights and norms; are others refused in one line?"""

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bn_repro import plot
from bn_repro.norms import estimate_population_statistics, fold_batch_norms
from bn_repro.norms.modes import is_norm
from bn_repro.probes import (
    ActivationProbe,
    ActivationRecorder,
    folding_error,
    gradient_shift,
    landscape_along_gradient,
    layer_jacobians,
    magnitudes,
    scale_invariance_errors,
)
from bn_repro.probes.activations import Site

CASES = 16


def batch(seed=0):
    return torch.randn(CASES, 6, generator=torch.Generator().manual_seed(seed)), torch.arange(CASES) % 3


def measured(network, x, y):
    """Return what four instruments say, in one dict."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    return {
        **landscape_along_gradient(network, F.cross_entropy, x, y, 1.0),
        **gradient_shift(network, optimizer, F.cross_entropy, x, y),
        **magnitudes(network, F.cross_entropy, x, y),
        **{name: float(np.max(value)) for name, value in layer_jacobians(network, x, torch.Generator().manual_seed(0)).items()},
    }


class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.norm, self.b = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def below(self, x):
        return self.norm(self.a(x)).relu()

    def forward(self, x):
        return self.b(self.below(2 * x - 1))


class Checkpointed(Net):
    is_reentrant = False

    def forward(self, x):
        return self.b(checkpoint(self.below, (2 * x - 1).requires_grad_(), use_reentrant=self.is_reentrant))


class InPlace(Net):
    def forward(self, x):
        return self.b(self.below(x.mul_(2).sub_(1)))


@pytest.mark.parametrize("kind", [Checkpointed, InPlace])
def test_checkpoints_and_changed_inputs_make_no_difference(kind):
    network, (x, y) = kind(), batch()
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    assert measured(network, x, y) == pytest.approx(measured(Net(), *batch()), rel=1e-6)
    assert torch.equal(x, batch()[0])
    assert all(torch.equal(value, buffers[name]) for name, value in network.named_buffers())


@pytest.mark.parametrize("measure", [landscape_along_gradient, magnitudes, gradient_shift])
def test_a_checkpoint_that_hides_gradients_is_refused(measure):
    network, (x, y) = Checkpointed(), batch()
    network.is_reentrant = True
    arguments = {"landscape_along_gradient": (x, y, 1.0), "magnitudes": (x, y)}.get(measure.__name__)
    with pytest.raises(ValueError, match="use_reentrant=False"):
        if arguments:
            measure(network, F.cross_entropy, *arguments)
        else:
            measure(network, torch.optim.SGD(network.parameters(), lr=1.0), F.cross_entropy, x, y)


def test_population_statistics_and_folding_leave_the_callers_batch_as_it_is():
    network, (x, _) = InPlace(), batch()
    estimate_population_statistics(network, [x])
    assert folding_error(network, x)[1] < 1e-5
    assert torch.equal(x, batch()[0])


def test_a_weight_that_two_layers_share_has_one_gradient():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(5, 6), nn.Linear(6, 6), nn.Linear(6, 5, bias=False))
    network[2].weight = network[0].weight
    x, y = torch.arange(5), torch.arange(5).flip(0)
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(x), y), network[2].weight)
    found = magnitudes(network, F.cross_entropy, x, y)
    assert found["2/weight_gradient"] == pytest.approx(gradient.square().mean().sqrt().item(), rel=1e-6)


def test_a_norm_that_two_layers_share_counts_for_each_by_its_own_call():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.norm, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.LayerNorm(6, eps=1.0), nn.Linear(6, 3)

        def forward(self, x):
            return self.c(self.norm(self.a(x)) + self.norm(100 * self.b(x)))

    torch.manual_seed(0)
    network, (x, y) = Shared(), batch()
    found = magnitudes(network, F.cross_entropy, x, y)
    assert found["a/output"] == pytest.approx(network.norm(network.a(x)).square().mean().sqrt().item(), rel=1e-6)


def test_norms_are_known_by_class_and_not_by_three_letters():
    class NormalNoise(nn.Module):
        pass

    class BatchNormalization(nn.Module):
        pass

    network = timm.create_model("test_efficientnet_gn", num_classes=3)
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.GroupNorm)]
    with ActivationRecorder(network, every=1) as recorder:
        network.train()(torch.randn(2, 3, 32, 32))
    assert norms and {f"{name}/in/mean" for name in norms} <= recorder.arrays().keys()
    assert is_norm(BatchNormalization()) and not is_norm(NormalNoise())


def test_complex_parameters_and_hooks_of_gradients_are_refused():
    (x, y), network = batch(), Net()
    network.phase = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ValueError, match="'phase' is of complex numbers"):
        magnitudes(network, F.cross_entropy, x, y)
    network = Net()
    network.a.weight.register_hook(torch.zeros_like)
    with pytest.raises(ValueError, match="'a.weight' has hooks"):
        landscape_along_gradient(network, F.cross_entropy, x, y, 1.0)


def test_a_step_that_half_precision_would_lose_is_refused():
    with pytest.raises(ValueError, match="'weight' is of torch.bfloat16"):
        landscape_along_gradient(nn.Linear(6, 3).bfloat16(), F.cross_entropy, batch()[0].bfloat16(), batch()[1], 1e-4)


def test_random_numbers_and_lists_are_as_before():
    class Restless(Net):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append(1)
            return super().forward(x + torch.rand_like(x))

    network, (x, _) = Restless(), batch()
    torch.manual_seed(3)
    layer_jacobians(network, x, torch.Generator().manual_seed(0))
    ActivationProbe(network, [Site("a", network.a, False, (-1, 1), (-1, 1))])(x)
    estimate_population_statistics(network, [x])
    assert folding_error(network, x)[1] < 1e-5
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3)) and network.seen == []


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_embeddings_are_not_scaled_down(kind):
    class Words(nn.Sequential):
        def forward(self, words):
            return self[1](self[0](words).flatten(1))

    embedding = kind(9, 4, max_norm=0.1)
    network, x, y = Words(embedding, nn.Linear(4 if kind is nn.EmbeddingBag else 12, 3)), torch.arange(9).view(3, 3), torch.arange(3)
    before = embedding.weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    gradient_shift(network, optimizer, F.cross_entropy, x, y)
    landscape_along_gradient(network, F.cross_entropy, x, y, 0.1)
    ActivationProbe(network, [Site("last", network[1], False, (-1, 1), (-1, 1))])(x)
    assert torch.equal(embedding.weight, before)
    network(x)
    assert not torch.equal(embedding.weight, before)


def test_a_weight_that_is_computed_cannot_be_scaled():
    class Normed(nn.Sequential):
        def __init__(self):
            super().__init__()
            self.affine, self.norm = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)), nn.BatchNorm1d(6)

    with pytest.raises(ValueError, match="computed anew"):
        scale_invariance_errors(nn.Sequential(Normed()), batch()[0], 10.0, torch.Generator())


def test_what_a_recorder_cannot_do_is_refused():
    for numbers in ({"every": 0}, {"num_bins": 0}, {"num_sampled": 0}, {"bounds": (1, -1)}):
        with pytest.raises(ValueError, match="must be at least 1, and bounds="):
            ActivationRecorder(Net(), **numbers)


def test_double_precision_is_kept():
    layer = nn.Linear(6, 6, bias=False).double()
    nn.init.eye_(layer.weight)
    x = 1e6 + 1e-3 * batch()[0].double()
    with ActivationRecorder(nn.Sequential(layer), every=1) as recorder:
        recorder.network(x)
    probe = ActivationProbe(layer, [Site("out", layer, False, (0, 2e6), (0, 2e6))])
    expected = x.std(correction=0).item()
    assert recorder.arrays()["0/out/std"][0] == pytest.approx(expected, rel=1e-3)
    assert probe(x)[1]["out/std"] == pytest.approx(expected, rel=1e-3)


def test_the_line_of_a_figure_is_the_median():
    with ActivationRecorder(Net(), every=1, percentiles=(5, 50, 75, 95)) as recorder:
        recorder.network(batch()[0])
    arrays = recorder.arrays()
    (line, *_) = plot.percentiles(arrays, place="in", layers=["norm"]).axes[0].lines
    assert line.get_ydata() == pytest.approx(arrays["norm/in/percentiles"][:, 1])


def test_a_network_whose_train_returns_nothing_is_folded():
    class Backbone(Net):
        def train(self, mode=True):
            super().train(mode)

    assert not any(isinstance(module, nn.BatchNorm1d) for module in fold_batch_norms(Backbone()).modules())


@pytest.mark.parametrize("is_residual", [True, False])
def test_children_that_are_called_so_but_follow_in_another_order_are_no_layer(is_residual):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.affine, self.norm = nn.Linear(6, 6), nn.LayerNorm(6)

        def forward(self, x):
            return x + self.norm(self.affine(x)) if is_residual else self.affine(self.norm(x))

    torch.manual_seed(0)
    network = nn.Sequential(Block(), nn.Linear(6, 3))
    found = layer_jacobians(network, batch()[0], torch.Generator().manual_seed(0))
    assert {name.rsplit("/", 1)[0] for name in found} == {"0.affine", "1"}
    if not is_residual:
        expected = torch.linalg.svdvals(network[0].affine.weight)
        assert found["0.affine/singular_values"][0] == pytest.approx(expected.detach().numpy(), rel=1e-5)


def test_a_module_that_merges_weights_in_evaluation_mode_is_left_alone():
    class Merging(nn.Linear):
        def train(self, mode=True):
            if not mode:
                self.weight.data.add_(1)
            return super().train(mode)

    layer = Merging(6, 6)
    before = layer.weight.clone()
    network = nn.Sequential(layer, nn.BatchNorm1d(6))
    layer_jacobians(network, batch()[0], torch.Generator(), layers=["0"])
    estimate_population_statistics(network, [batch()[0]])
    assert torch.equal(layer.weight, before)
