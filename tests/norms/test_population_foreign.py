"""Are population statistics Algorithm 2's, or left alone with a word, on networks and batches that are not ours?"""

import copy
import types
from typing import NamedTuple

import pytest
import torch
from batch_norm_reference import population
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from bn_repro.norms import BatchNorm1d, OutsideGradientNorm, estimate_population_statistics


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


BATCHES = [k + k * drawn(6, 3, seed=k) for k in (1, 2, 3)]


def used(layer):
    """Return the layer in float64 with statistics that are not the initial ones."""
    layer = layer.double()
    layer.running_mean.fill_(7)
    layer.running_var.fill_(9)
    layer.num_batches_tracked += 4
    return layer


def assert_is_population(layer, batches=BATCHES):
    mean, var = population(batches)
    torch.testing.assert_close(layer.running_mean, mean.to(layer.running_mean), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(layer.running_var, var.to(layer.running_var), rtol=1e-6, atol=1e-6)


class Headed(nn.Module):
    """Has a head that runs in training mode alone, as torchvision's googlenet and inception_v3 do."""

    def __init__(self):
        super().__init__()
        self.norm, self.head = used(nn.BatchNorm1d(3)), used(nn.BatchNorm1d(3))

    def forward(self, x):
        x = self.norm(x)
        return (x, self.head(x)) if self.training else x


def test_norms_that_no_batch_reaches_keep_their_statistics():
    network = Headed().train()
    with pytest.warns(UserWarning, match="1 of 2 batch norms keep their statistics: head, which no batch reaches"):
        assert estimate_population_statistics(network, BATCHES) == 3
    assert_is_population(network.norm)
    assert (network.head.running_mean == 7).all() and (network.head.running_var == 9).all() and network.head.num_batches_tracked == 4


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvisions_auxiliary_heads(name):
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.get_model(name, num_classes=3, init_weights=False).eval()
    heads = [m for n, m in network.named_modules() if "aux" in n.lower() and isinstance(m, nn.BatchNorm2d)]
    for norm in heads:
        norm.running_mean.fill_(5)
    with pytest.warns(UserWarning, match=f"{len(heads)} of .* which no batch reaches"):
        estimate_population_statistics(network, [torch.randn(2, 3, 80, 80)])
    assert heads and all((norm.running_mean == 5).all() for norm in heads)


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_is_summed_in_float32(dtype, tolerance):
    """500 batches of mean 5.5 and variance 2; the sums of bfloat16 stop growing at 4.0."""
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).to(dtype)
    x = torch.tensor([[4.5], [6.5], [4.5], [6.5]]).expand(4, 2).to(dtype)
    weight = network[0].weight
    assert estimate_population_statistics(network, [x] * 500) == 500
    assert network[0].running_mean.tolist() == pytest.approx([5.5, 5.5], rel=tolerance)
    assert network[0].running_var.tolist() == pytest.approx([4 / 3, 4 / 3], rel=tolerance)
    assert network[0].running_mean.dtype == dtype and network[0].weight is weight and weight.dtype == dtype


def test_no_other_norm_is_moved():
    network = nn.Sequential(
        OutsideGradientNorm(3),
        nn.BatchNorm1d(3),
        nn.Unflatten(1, (3, 1)),
        nn.InstanceNorm1d(3, track_running_stats=True).eval(),
        nn.Flatten(),
        nn.BatchNorm1d(3, track_running_stats=False),
    ).double()
    network.register_buffer("other", torch.ones(2))
    network[2].unflattened_size = (3, 1)
    before = copy.deepcopy(network.state_dict())
    network[3].forward = types.MethodType(lambda self, x: x, network[3])  # of single numbers there is no instance variance
    estimate_population_statistics(network, BATCHES)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"1.running_mean", "1.running_var"}


def test_an_empty_batch_counts_as_none():
    layer = used(nn.BatchNorm1d(3))
    assert estimate_population_statistics(layer, [BATCHES[0], torch.empty(0, 3).double(), *BATCHES[1:]]) == 3
    assert_is_population(layer)
    with pytest.raises(ValueError, match="at least one batch that is not empty"):
        estimate_population_statistics(layer, [torch.empty(0, 3).double()])
    assert_is_population(layer)


def test_an_input_that_is_empty_inside_counts_as_none():
    class Selecting(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = used(nn.BatchNorm1d(3))

        def forward(self, x):
            return self.norm(x[x[:, 0] < 100])

    network = Selecting()
    assert estimate_population_statistics(network, [BATCHES[0], BATCHES[1] + 1000, *BATCHES[1:]]) == 4
    assert_is_population(network.norm)


class Batch(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@pytest.mark.parametrize(
    "form", ["loader", "list_of_one", "pair", "named", "dict", "dict_and_target", "keywords", "nested", "two_arguments"]
)
def test_batches_are_taken_as_loaders_give_them(form):
    class Keywords(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = used(nn.BatchNorm1d(3))

        def forward(self, x, mask=None):
            return self.norm(x)

    class Two(Keywords):
        def forward(self, x, other):
            return self.norm(x) + other

    network = {"nested": Two, "two_arguments": Two}.get(form, Keywords)()
    y = torch.zeros(6)
    batches = {
        "loader": DataLoader(TensorDataset(torch.cat(BATCHES), torch.zeros(18)), batch_size=6),
        "list_of_one": [[x] for x in BATCHES],
        "pair": [(x, y) for x in BATCHES],
        "named": [Batch(x, y) for x in BATCHES],
        "dict": [{"x": x, "labels": y} for x in BATCHES],
        "dict_and_target": [({"x": x}, y) for x in BATCHES],
        "keywords": [{"mask": None, "x": x} for x in BATCHES],
        "nested": [[[x, 1.0], y] for x in BATCHES],
        "two_arguments": [(x, 1.0) for x in BATCHES],
    }[form]
    assert estimate_population_statistics(network, batches) == 3
    assert_is_population(network.norm)


def test_a_network_of_dicts_and_a_dict_that_fits_none():
    class OfDicts(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = used(nn.BatchNorm1d(3))

        def forward(self, batch):
            return self.norm(batch["image"])

    network = OfDicts()
    estimate_population_statistics(network, [{"image": x, "label": 0} for x in BATCHES])
    assert_is_population(network.norm)
    layer = used(nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match=r"BatchNorm1d takes \(input\), not a dict of image, label"):
        estimate_population_statistics(layer, [{"image": BATCHES[0], "label": 0}])
    assert (layer.running_mean == 7).all()


class Biased(nn.BatchNorm1d):
    """Averages the biased variance, with a momentum of its own."""

    def forward(self, x):
        if self.training:
            self.num_batches_tracked += 1
            self.running_mean.lerp_(x.mean(0), 0.5)
            self.running_var.lerp_(x.var(0, correction=0), 0.5)
        return (x - self.running_mean) / (self.running_var + self.eps).sqrt()


class Rebinding(nn.BatchNorm1d):
    """Torch's own update, written out with new tensors."""

    def forward(self, x):
        if self.training:
            self.num_batches_tracked = self.num_batches_tracked + 1
            weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean = (1 - weight) * self.running_mean + weight * x.mean(0)
            self.running_var = (1 - weight) * self.running_var + weight * x.var(0)
        return (x - x.mean(0)) / (x.var(0, correction=0) + self.eps).sqrt()


class ReLUNorm(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x).relu()


def test_subclasses_are_believed_where_their_statistics_are_the_papers():
    for kind in (ReLUNorm, Rebinding):
        layer = used(kind(3))
        mean = layer.running_mean
        estimate_population_statistics(layer, BATCHES)
        assert_is_population(layer)
        assert layer.running_mean is mean and layer.momentum == 0.1 and layer.num_batches_tracked == 4
    layer = used(Biased(3))
    with pytest.warns(UserWarning, match="whose class Biased computes others than the paper's"):
        estimate_population_statistics(layer, BATCHES)
    assert (layer.running_mean == 7).all() and (layer.running_var == 9).all()


def test_norms_that_do_not_track_or_share():
    layer = used(nn.BatchNorm1d(3))
    layer.track_running_stats = False
    with pytest.warns(UserWarning, match="whose track_running_stats is off"):
        estimate_population_statistics(layer, BATCHES)
    assert (layer.running_mean == 7).all()
    network = nn.Sequential(used(nn.BatchNorm1d(3)), used(nn.BatchNorm1d(3)))
    network[1].running_mean = network[0].running_mean
    with pytest.warns(UserWarning, match="2 of 2 batch norms keep their statistics: 0, which shares them with another, and 1 more"):
        estimate_population_statistics(network, BATCHES)
    uncounted = used(nn.BatchNorm1d(3))
    uncounted.num_batches_tracked = None
    estimate_population_statistics(uncounted, BATCHES)
    assert_is_population(uncounted)
    assert uncounted.num_batches_tracked is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_wipe_nothing(value):
    layer, batch = used(nn.BatchNorm1d(3)), BATCHES[1].clone()
    batch[0, 0] = value
    with pytest.warns(UserWarning, match="whose inputs are not all finite"):
        estimate_population_statistics(layer, [BATCHES[0], batch])
    assert (layer.running_mean == 7).all() and (layer.running_var == 9).all()


def test_dropout_inside_of_a_norm_is_off():
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    network = nn.Sequential(BatchNormAct2d(3, drop_layer=nn.Dropout), nn.Flatten(), used(nn.BatchNorm1d(3)).float()).train()
    x, rng = torch.randn(8, 3, 1, 1), torch.get_rng_state()
    estimate_population_statistics(network, [x])
    assert torch.equal(torch.get_rng_state(), rng) and network[0].drop.training
    expected = ((x.flatten(1) - x.flatten(1).mean(0)) / (x.flatten(1).var(0, correction=0) + 1e-5).sqrt()).relu().mean(0)
    torch.testing.assert_close(network[2].running_mean, expected)


def test_tensors_of_inference_mode():
    with torch.inference_mode():
        layer = BatchNorm1d(3).double()
    estimate_population_statistics(layer, BATCHES)
    assert_is_population(layer)


class ChannelsLast(nn.BatchNorm1d):
    """Of (N, T, C), as code of sequences has it."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class OwnCall(nn.BatchNorm1d):
    """Torch's function with the momentum that stands in the layer, which counts no batches."""

    def forward(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps)


def test_subclasses_may_normalize_other_dimensions_and_use_their_momentum():
    for length in (2, 3, 1):  # as long as there are features too
        layer = used(ChannelsLast(3))
        estimate_population_statistics(layer, [x.reshape(-1, length, 3) for x in BATCHES])
        assert_is_population(layer)
    layer = used(OwnCall(3))
    estimate_population_statistics(layer, BATCHES)
    assert_is_population(layer)


class OfRecords(nn.BatchNorm1d):
    def forward(self, record):
        return super().forward(record["x"])


def test_a_norm_that_takes_no_tensor_is_left_and_the_others_are_not():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = used(nn.BatchNorm1d(3)), used(OfRecords(3))

        def forward(self, x):
            return self.norm({"x": self.first(x)})

    network = Network()
    with pytest.warns(UserWarning, match="1 of 2 batch norms keep their statistics: norm, whose class OfRecords takes no tensor"):
        estimate_population_statistics(network, BATCHES)
    assert_is_population(network.first)
    assert (network.norm.running_mean == 7).all()


def test_maps_that_are_stored_channels_last_lose_no_digits():
    x = 1e4 + drawn(16, 4, 16, 16).float()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        layer = nn.BatchNorm2d(4)
        estimate_population_statistics(layer, [x.to(memory_format=memory_format)])
        torch.testing.assert_close(layer.running_var.double(), x.double().var((0, 2, 3)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_tuple_of_examples_is_one_argument(size):
    """As torchvision's detection has it: collate_fn gives tuple(zip(*examples))."""

    class OfSequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = used(nn.BatchNorm1d(3))

        def forward(self, sequences, targets=None):
            assert targets is None
            return self.norm(torch.cat(sequences))

    examples = [(x, k) for k, x in enumerate(BATCHES * 2)]
    loader = DataLoader(examples, size, collate_fn=lambda batch: tuple(zip(*batch)))
    network = OfSequences()
    assert estimate_population_statistics(network, loader) == 6 // size
    assert_is_population(network.norm, [torch.cat([x for x, _ in examples[k : k + size]]) for k in range(0, 6, size)])


def test_a_wrapper_takes_what_the_network_in_it_takes():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = used(nn.BatchNorm1d(3))

        def forward(self, x, other):
            return self.norm(x) + other

    for wrap in (nn.DataParallel, torch.optim.swa_utils.AveragedModel):
        network = wrap(Two())
        estimate_population_statistics(network, [(x, 1.0) for x in BATCHES])
        assert_is_population(network.module.norm)


def test_a_network_that_standardizes_its_inputs_is_no_norm():
    """Its dropout stays off, which is no part of it."""

    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(3).double())
            self.norm = used(nn.BatchNorm1d(3))

        def forward(self, x):
            return self.norm(F.dropout(x - self.running_mean, 0.5, self.training))

    network = Agent()
    estimate_population_statistics(network, BATCHES)
    assert_is_population(network.norm)
