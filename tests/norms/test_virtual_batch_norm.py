"""Do both forms of virtual batch norm compute their formulas, stacked too, always from the present parameters?"""

import copy

import pytest
import torch
from batch_norm_reference import as_maps, as_rows, batch_moments, inference, transform
from torch import nn

from bn_repro.norms import (
    BatchNorm1d,
    BatchNorm2d,
    VirtualBatchNorm,
    build_norm,
    keep_reference,
    normalizing_by_batch,
    reference_statistics,
)
from bn_repro.norms.virtual_batch_norm import REFERENCE
from bn_repro.probes import ActivationRecorder

SHAPES = [(5,), (5, 3, 2)]  # of an example
EPS = 1e-3


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def norm_of(has_example=False, **kwargs):
    norm = VirtualBatchNorm(5, EPS, has_example, **kwargs).double()
    with torch.no_grad():
        norm.beta.copy_(drawn(5, seed=2))
        if norm.gamma is not None:
            norm.gamma.copy_(1 + 0.3 * drawn(5, seed=1))
    return norm


def batches(shape, size=7, num=4):
    return 2 + 3 * drawn(size, *shape, seed=3), -1 + 2 * drawn(num, *shape, seed=4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("has_gamma", [True, False])
def test_by_the_reference_alone(shape, has_gamma):
    """y = gamma (x - mu_ref) / sqrt(var_ref + eps) + beta."""
    norm, (x_ref, x) = norm_of(has_gamma=has_gamma), batches(shape)
    gamma = norm.gamma if has_gamma else torch.ones(5)
    mean, var = batch_moments(as_rows(x_ref))
    with reference_statistics(norm, x_ref):
        y = norm(x)
    torch.testing.assert_close(y, as_maps(inference(as_rows(x), gamma, norm.beta, mean, var, EPS), x), rtol=1e-12, atol=1e-12)
    with reference_statistics(norm, x_ref):
        alone = norm(x[:1])
    torch.testing.assert_close(alone, y[:1], rtol=1e-12, atol=1e-12)  # whatever its neighbours


@pytest.mark.parametrize("shape", SHAPES)
def test_by_the_reference_and_the_example_itself(shape):
    """Each example by the moments of the R + 1 examples that it and the reference are together."""
    norm, (x_ref, x) = norm_of(has_example=True), batches(shape)
    with reference_statistics(norm, x_ref):
        y = norm(x)
    for number in range(len(x)):
        rows = as_rows(torch.cat([x_ref, x[number : number + 1]]))
        expected = transform(rows, norm.gamma, norm.beta, EPS)[-len(as_rows(x[:1])) :]
        torch.testing.assert_close(as_rows(y[number : number + 1]), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("has_example", [False, True])
def test_the_reference_is_normalized_by_its_own_moments(shape, has_example):
    norm, (x_ref, _) = norm_of(has_example), batches(shape)
    with normalizing_by_batch(norm):  # of a layer by itself the batch is the reference
        y = norm(x_ref)
    torch.testing.assert_close(y, as_maps(transform(as_rows(x_ref), norm.gamma, norm.beta, EPS), x_ref), rtol=1e-12, atol=1e-12)
    assert not norm.is_reference


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_batch_norm_at_inference_with_the_moments_of_the_reference(shape):
    norm, (x_ref, x) = norm_of(), batches(shape)
    batch_norm = (BatchNorm1d if len(shape) == 1 else BatchNorm2d)(5, EPS).double().eval()
    batch_norm.running_mean, batch_norm.running_var = batch_moments(as_rows(x_ref))
    batch_norm.weight, batch_norm.bias = norm.gamma, norm.beta
    with reference_statistics(norm, x_ref):
        torch.testing.assert_close(norm(x), batch_norm(x), rtol=1e-12, atol=1e-12)


def stacked(has_example=False, seed=5):
    torch.manual_seed(seed)
    name = "virtual_batch_with_example" if has_example else "virtual_batch"
    conv = [nn.Conv2d(2, 3, 2, bias=False), build_norm(name, 3, 2, EPS, 0.1), nn.Tanh(), nn.Flatten()]
    return nn.Sequential(*conv, nn.Linear(12, 4), build_norm(name, 4, 0, EPS, 0.1), nn.Tanh(), nn.Linear(4, 2)).double()


def by_hand(network, x_ref, x):
    """Pass the reference and, after it, x through `stacked`: each layer's reference by its own moments."""
    for module in network:
        if isinstance(module, VirtualBatchNorm):
            moments = batch_moments(as_rows(x_ref))
            x, x_ref = (as_maps(inference(as_rows(z), module.gamma, module.beta, *moments, EPS), z) for z in (x, x_ref))
        else:
            x, x_ref = module(x), module(x_ref)
    return x


def test_stacked_layers_always_by_the_present_parameters():
    network, x_ref, x = stacked(), drawn(6, 2, 3, 3), drawn(4, 2, 3, 3, seed=1)
    with reference_statistics(network, x_ref):
        torch.testing.assert_close(network(x), by_hand(network, x_ref, x), rtol=1e-10, atol=1e-10)
        for parameter in network.parameters():
            parameter.data.add_(0.3 * drawn(*parameter.shape, seed=7))
        torch.testing.assert_close(network(x), by_hand(network, x_ref, x), rtol=1e-10, atol=1e-10)
    assert all(norm.moments is None for norm in network if isinstance(norm, VirtualBatchNorm))  # no graph is kept


def test_gradients_see_the_statistics():
    """Those of the by-hand form, in which autograd follows the reference as well; a bias before the norm gets none."""
    network, x_ref, x = stacked(), drawn(6, 2, 3, 3), drawn(4, 2, 3, 3, seed=1)
    parameters = list(network.parameters())
    with reference_statistics(network, x_ref):
        found = torch.autograd.grad(network(x).square().sum(), parameters)
    expected = torch.autograd.grad(by_hand(network, x_ref, x).square().sum(), parameters)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    bias = dict(zip(dict(network.named_parameters()), found))["4.bias"]
    assert bias.abs().max() < 1e-12


@pytest.mark.parametrize("has_example", [False, True])
def test_gradcheck(has_example):
    network, x_ref, x = stacked(has_example), drawn(4, 2, 3, 3).requires_grad_(), drawn(2, 2, 3, 3, seed=1).requires_grad_()

    def output(x, x_ref, *parameters):
        with reference_statistics(network, x_ref):
            return torch.func.functional_call(network, dict(zip(dict(network.named_parameters()), parameters)), (x,))

    assert torch.autograd.gradcheck(output, (x, x_ref, *network.parameters()))


def test_without_a_reference_it_says_so():
    network, x = stacked(), drawn(4, 2, 3, 3)
    with pytest.raises(ValueError, match=r"no reference statistics; reference_statistics\(network, x_ref\) gives some"):
        network(x)
    with reference_statistics(network, drawn(6, 2, 3, 3)):
        network(x)
    with pytest.raises(ValueError, match="no reference statistics"):
        network(x)
    assert not hasattr(network, REFERENCE) and not network._forward_pre_hooks and not network._forward_hooks


def test_a_reference_of_another_shape_is_refused():
    network, norm = stacked(), norm_of()
    with pytest.raises(ValueError) as error, reference_statistics(network, drawn(6, 2, 3, 4)):
        network(drawn(4, 2, 3, 3))
    assert str(error.value) == "examples of the reference batch have shape (2, 3, 4), those of the batch (2, 3, 3)"
    assert not hasattr(network, REFERENCE)
    with pytest.raises(ValueError, match=r"one value per feature has no variance; it has shape \(1, 5\)"):
        with reference_statistics(norm, drawn(1, 5)):
            norm(drawn(4, 5))


def test_arguments_may_have_names_and_others_stand_beside_the_batch():
    class Scaled(nn.Sequential):
        def forward(self, x, factor=1.0):
            return super().forward(factor * x)

    network, x_ref, x = Scaled(*stacked()), drawn(6, 2, 3, 3), drawn(4, 2, 3, 3, seed=1)
    with reference_statistics(network, x_ref):
        expected = network(3 * x)
        torch.testing.assert_close(network(x=3 * x), expected)
        by_factor = network(x, factor=3.0)
        torch.testing.assert_close(network(x, 3.0), by_factor)
        with pytest.raises(ValueError, match="a reference batch is one tensor; Scaled is called with 2"):
            network(x, torch.tensor(3.0))
    with reference_statistics(network, 3 * x_ref):
        torch.testing.assert_close(by_factor, network(3 * x))


def test_a_kept_reference_is_part_of_the_state_and_of_copies():
    network, x_ref, x = stacked(), drawn(6, 2, 3, 3), drawn(4, 2, 3, 3, seed=1)
    keep_reference(network, x_ref)
    y = network(x)
    with reference_statistics(network, drawn(6, 2, 3, 3, seed=9)):  # another one for a while
        assert not torch.equal(network(x), y)
    assert torch.equal(network(x), y) and torch.equal(network.state_dict()[REFERENCE], x_ref)
    twin = copy.deepcopy(network)
    twin[0].weight.data.zero_()
    assert torch.equal(network(x), y) and not torch.equal(twin(x), y)
    other = stacked(seed=6)
    keep_reference(other, torch.zeros_like(x_ref))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), y)


def test_it_is_the_same_compiled_and_close_in_bfloat16():
    network, x_ref, x = stacked(), drawn(6, 2, 3, 3), drawn(4, 2, 3, 3, seed=1)
    keep_reference(network, x_ref)
    y = network(x)
    torch.testing.assert_close(torch.compile(network, backend="eager")(x), y)
    network.float()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(x.float())
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.double(), y, rtol=0.1, atol=0.1)


def test_who_watches_a_network_sees_the_batch_and_not_the_reference():
    network, x_ref, x = stacked().float(), drawn(6, 2, 3, 3).float(), drawn(4, 2, 3, 3, seed=1).float()
    keep_reference(network, x_ref)
    with ActivationRecorder(network, every=1) as recorder:
        network(x), network(x)
    arrays = recorder.arrays()
    assert arrays["step"].tolist() == [0, 1]
    torch.testing.assert_close(float(arrays["0/out/mean"][0]), network[0](x).mean().item())


def normed_by(reference, u):
    """Return u normalized by the moments of a reference."""
    var, mean = torch.var_mean(reference, 0, correction=0)
    return (u - mean) / (var + EPS).sqrt()


def test_the_reference_is_not_changed_by_a_network_that_changes_its_inputs():
    class Standardizing(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = VirtualBatchNorm(5, EPS)

        def forward(self, x):
            return self.norm(x.sub_(0.1).div_(0.5))

    network, x_ref, x = Standardizing().double(), drawn(6, 5), drawn(4, 5, seed=1)
    with reference_statistics(network, x_ref):
        for _ in range(2):
            torch.testing.assert_close(network(x.clone()), normed_by((x_ref - 0.1) / 0.5, (x - 0.1) / 0.5))
    assert torch.equal(x_ref, drawn(6, 5))


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("takes_kwargs", [True, False])
def test_the_reference_passes_through_the_networks_own_hooks(is_first, takes_kwargs):
    network, x_ref, x = nn.Sequential(VirtualBatchNorm(5, EPS)).double(), drawn(6, 5), drawn(4, 5, seed=1)

    def hook(module, args, *kwargs):
        changed = (args[0][:, :5] / 7,)
        return (changed, *kwargs) if kwargs else changed

    if not is_first:
        keep_reference(network, torch.cat([x_ref, x_ref], 1))
    network.register_forward_pre_hook(hook, with_kwargs=takes_kwargs)
    if is_first:
        keep_reference(network, torch.cat([x_ref, x_ref], 1))
    torch.testing.assert_close(network(torch.cat([x, x], 1)), normed_by(x_ref / 7, x / 7))


def test_a_forward_that_stands_in_the_place_of_the_class_s_own_is_used():
    network, x_ref, x = nn.Sequential(VirtualBatchNorm(5, EPS)).double(), drawn(6, 5), drawn(4, 5, seed=1)
    network.forward = lambda x, own=network.forward: own(3 * x)
    with reference_statistics(network, x_ref), ActivationRecorder(network.train(), every=1):
        torch.testing.assert_close(network(x), normed_by(3 * x_ref, 3 * x))


def test_a_norm_that_is_called_twice_in_a_pass_is_refused():
    norm = VirtualBatchNorm(5, EPS)
    network = nn.Sequential(norm, nn.Tanh(), norm).double()
    with reference_statistics(network, drawn(6, 5)), pytest.raises(ValueError, match="called twice in a pass"):
        network(drawn(4, 5))
    with normalizing_by_batch(network):  # each batch being its own reference
        assert network(drawn(4, 5)).shape == (4, 5)
