"""Is what other people's networks do around a batch norm either folded to the same outputs, or left alone with a reason?"""

import copy

import folded
import pytest
import timm
import torch
from folded import IMAGES, add_skip, as_trained, drawn, fold_checked, pair
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from bn_repro.norms import BatchNorm1d, BatchNorm2d, estimate_population_statistics, fold_batch_norms, foldable_pairs, unfoldable_norms
from bn_repro.probes import folding_error, undisturbed

pytestmark = pytest.mark.filterwarnings("ignore:folded", "ignore:.*deprecated.*:FutureWarning")


class ReLUNorm(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


class Standardized(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class HalfConvolution(nn.Conv2d):
    """Overrides what torch's `forward` calls."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight, bias).relu()


class LowRank(nn.Conv2d):
    def __init__(self, *args):
        super().__init__(*args)
        self.down, self.up = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 5, 1)

    def forward(self, x):
        return super().forward(x) + self.up(self.down(x))


class ShiftedWeight(nn.Conv2d):
    @property
    def stride(self):
        return (1, 1)

    @stride.setter
    def stride(self, _):
        pass


class AlwaysTraining(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(True)


class Renamed(nn.BatchNorm2d):
    """Adds nothing to the forward pass."""

    def describe(self):
        return "mine"


@pytest.mark.parametrize(
    "affine, norm, num_folded, why",
    [
        (None, Renamed(5), 1, ""),
        (None, nn.SyncBatchNorm(5), 1, ""),
        (None, ReLUNorm(5), 0, "ReLUNorm has a forward of its own"),
        (None, AlwaysTraining(5), 0, "stays in training mode"),
        (Standardized(4, 5, 1), None, 0, "Standardized has a forward of its own"),
        (HalfConvolution(4, 5, 1), None, 0, "HalfConvolution has a _conv_forward of its own"),
        (LowRank(4, 5, 1), None, 0, "it does not read the output of a layer"),
        (ShiftedWeight(4, 5, 1), None, 0, "ShiftedWeight has a stride of its own"),
        (nn.Linear(6, 5), BatchNorm2d(4), 0, "its 4 features are not the outputs of Linear"),
    ],
)
def test_a_subclass_is_not_taken_for_its_base(affine, norm, num_folded, why):
    network = pair(affine, norm)
    if isinstance(norm, AlwaysTraining):
        with pytest.warns(UserWarning, match=why):
            assert isinstance(fold_batch_norms(network)[1], AlwaysTraining)
        return
    folded, reasons = fold_checked(network)
    assert folded == num_folded and why in reasons


def test_a_forward_put_on_an_instance_counts():
    network = pair()
    network[1].forward = lambda x: 2 * x
    assert fold_checked(network) == (0, "BatchNorm2d has a forward of its own")
    network = nn.Sequential(pair())
    network.forward = lambda x: x
    with pytest.raises(ValueError, match="cannot fold Sequential: something stands in the place of its forward"):
        fold_batch_norms(network)


@pytest.mark.parametrize(
    "name, num_folded", [("efficientnet_b0", 49), ("regnetx_002", 44), ("densenet121", 59), ("mobilenetv3_small_050", 34)]
)
def test_timms_norms_with_activation_are_folded(name, num_folded):
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3).double().eval()
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    pairs = foldable_pairs(network)
    assert len(pairs) == num_folded and any(isinstance(m, BatchNormAct2d) for m in norms)
    folded, x = fold_batch_norms(network), drawn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), rtol=1e-9, atol=1e-12)
    norm = pairs[0][1]
    assert type(folded.get_submodule(norm).act) is type(network.get_submodule(norm).act)


@pytest.mark.parametrize("change", [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm, "prune"])
@pytest.mark.parametrize("is_used", [False, True], ids=["", "after_a_training_pass"])
def test_computed_weights_are_left(change, is_used):
    network = pair()
    if change == "prune":
        prune.l1_unstructured(network[0], "weight", 0.5)
    else:
        change(network[0])
    if is_used:
        network(IMAGES)
    num_folded, why = fold_checked(network)
    assert num_folded == 0 and why.startswith("of its layer") and ("hooks" in why or "parametrized" in why)


def test_a_linear_over_other_dimensions_raises_and_returns_no_wrong_number():
    """Over (N, C, L) the norm's features are the C, which may be as many as the outputs."""
    network = as_trained(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Sigmoid()))
    folded = fold_batch_norms(network)
    assert fold_checked(network, drawn(5, 6)) == (1, "")
    with pytest.raises(ValueError, match=r"folded for inputs of 2 dimensions, not \(5, 6, 6\)"):
        folded(drawn(5, 6, 6))
    unbatched = as_trained(nn.Sequential(nn.Conv1d(4, 6, 1), nn.SyncBatchNorm(6)))
    assert fold_checked(unbatched, drawn(5, 4, 6)) == (1, "")
    with pytest.raises(ValueError, match="of 3 dimensions"):
        fold_batch_norms(unbatched)(drawn(4, 6))
    assert torch.fx.symbolic_trace(folded)(drawn(5, 6)).shape == (5, 6)
    with pytest.raises(ValueError, match="of 2 dimensions"):
        torch.fx.symbolic_trace(folded)(drawn(5, 6, 6))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("kind", ["forward", "pre"])
def test_hooks_keep_a_pair(place, kind):
    network = pair()
    if kind == "pre":
        network[place].register_forward_pre_hook(lambda module, args: (2 * args[0],))
    else:
        network[place].register_forward_hook(lambda module, args, output: output + 1)
    num_folded, why = fold_checked(network)
    assert num_folded == 0 and "hooks" in why


@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 4e-3), (torch.bfloat16, 3e-2), (torch.float32, 1e-5)])
def test_half_precision_is_folded_in_float32(dtype, tolerance):
    exact = pair()
    half = copy.deepcopy(exact).to(dtype)
    folded = fold_batch_norms(half)
    expected = fold_batch_norms(copy.deepcopy(half).double())[0].weight
    assert folded[0].weight.dtype == dtype and len(foldable_pairs(half)) == 1
    assert ((folded[0].weight.double() - expected).abs() <= tolerance / 4 * expected.abs() + 1e-6).all()


def test_a_product_that_overflows_is_left():
    network = pair().half()
    with torch.no_grad():
        network[0].weight.fill_(1000.0)
        network[1].weight.fill_(1000.0)
    assert unfoldable_norms(network) == {"1": "the product of the two is not finite in torch.float16"}


def test_nothing_of_the_network_changes_even_by_asking():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.calls = pair(), 0
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.seen += 1
            return self.pair(x) + torch.ones(5, 1, 1).to(x)

    network = as_trained(Counting())
    before, attributes = copy.deepcopy(network.state_dict()), dict(vars(network))
    foldable_pairs(network), unfoldable_norms(network)
    folded = fold_batch_norms(network)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())
    assert (
        vars(network) == attributes
        and set(vars(folded)) == set(attributes)
        and network.calls == folded.calls == 0
        and folded.seen == network.seen
    )
    assert network.training and network.pair[1].training


def test_inference_tensors_and_tensors_without_values():
    with torch.inference_mode():
        network = pair()
    assert fold_checked(network)[0] == 1
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5))
    assert "no values" in unfoldable_norms(network)["1"]
    lazy = nn.Sequential(nn.LazyConv2d(5, 1), nn.LazyBatchNorm2d())
    with pytest.raises(ValueError, match="cannot be copied"):
        fold_batch_norms(lazy)
    lazy(IMAGES.float())
    assert len(foldable_pairs(lazy)) == 1


def test_a_warning_counts_and_names_what_was_left():
    network = as_trained(nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)))
    with pytest.warns(UserWarning, match="folded 1 of 3 batch norms; left as it is: 0, it does not read .*, and 1 more") as told:
        fold_batch_norms(network)
    assert len(told) == 1 and told[0].filename == __file__
    assert list(unfoldable_norms(network)) == ["0", "4"]
    assert folding_error(network, IMAGES)[0] == 1


def test_refusals_are_one_line():
    class Wild(nn.Module):
        def forward(self, x):
            if x.sum() > 0:
                raise RuntimeError("two\nlines")
            return x

    network = Wild()
    network.norm = BatchNorm1d(3)
    with pytest.raises(ValueError, match="cannot fold Wild: torch.fx cannot trace it") as refused:
        fold_batch_norms(network)
    assert "\n" not in str(refused.value)


def test_traced_and_scripted_networks():
    network = as_trained(nn.Sequential(pair(), nn.Conv2d(5, 4, 1), nn.BatchNorm2d(4)))
    traced = torch.fx.symbolic_trace(network.eval())
    assert fold_checked(traced) == (2, "")
    scripted = torch.jit.script(network)
    for change in (fold_batch_norms, lambda network: estimate_population_statistics(network, [IMAGES])):
        with pytest.raises(ValueError, match="it is scripted; do so before torch.jit.script"):
            change(scripted)
    before = copy.deepcopy(scripted.state_dict())
    with undisturbed(scripted):
        scripted(IMAGES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in scripted.state_dict().items())


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)


class AskingInAnotherFile(Pair):
    def forward(self, x):
        h = self.conv(x)
        return add_skip(self.norm(h), h)


class AskingTorch(Pair):
    def forward(self, x):
        h = self.conv(x)
        y = self.norm(h)
        return y + h if torch.is_tensor(h) else y


class AskedForNone(Pair):
    def forward(self, x, skip):
        h = self.conv(x)
        y = self.norm(h)
        return y + h if skip is None else y + skip


class AskingForAttributes(Pair):
    def forward(self, x):
        h = self.conv(x)
        y = self.norm(h)
        return y if hasattr(h, "mask") else y + h


@pytest.mark.parametrize("kind, others", [(AskingInAnotherFile, ()), (AskingTorch, ()), (AskedForNone, (None,))])
def test_what_a_tensor_would_answer_decides(kind, others):
    network, x = as_trained(kind()), drawn(2, 3, 5, 5)
    assert foldable_pairs(network) == []
    torch.testing.assert_close(fold_batch_norms(network)(x, *others), network.eval()(x, *others))
    assert torch.is_tensor(x) and "isinstance" not in vars(folded)


def test_a_network_that_asks_for_attributes_is_refused():
    with pytest.raises(ValueError, match="it asks whether a tensor has 'mask'"):
        fold_batch_norms(AskingForAttributes())


def test_a_part_that_gives_itself_for_a_copy_is_refused():
    class Frozen(nn.Sequential):
        def __deepcopy__(self, memo):
            return self

    network = nn.Sequential(Frozen(nn.Linear(3, 4), nn.BatchNorm1d(4))).train()
    with pytest.raises(ValueError, match="its Frozen gives itself in place of a copy"):
        fold_batch_norms(network)
    assert network[0].training and len(network[0]) == 2
