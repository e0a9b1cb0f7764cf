"""Do AdamW, clipping, layers' rates and unfreezing make of a loop what they make of torch's parts put together by hand?"""

import dataclasses
import io

import pytest
import torch
from composed import smoke
from torch import nn
from torch.nn import functional as F

from bn_repro.training.loop import Interrupted, TrainState, train
from bn_repro.training.optimizers import build_optimizer

KNOBS = {
    "optimizer": "adamw",
    "momentum": 0.7,
    "beta_2": 0.99,
    "weight_decay": 0.1,
    "clip_norm": 0.05,
    "layer_lr_ratio": 0.25,
    "unfreeze_every": 4,
    "lr": 0.02,
    "steps": 10,
    "eval_every": 5,
    "checkpoint_every": 3,
}


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.bottom, self.top = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.top(self.bottom(x).tanh())

    def layer_groups(self):
        return [list(self.bottom.parameters()), list(self.top.parameters())]


class Draws:
    def at(self, step):
        generator = torch.Generator().manual_seed(step)
        return torch.randn(6, 3, generator=generator), torch.randint(0, 2, (6,), generator=generator)


def fresh():
    settings = dataclasses.replace(smoke().train, **KNOBS)
    network = TwoLayers()
    return TrainState(network, build_optimizer(network, settings)), settings


def test_by_hand_from_torchs_parts():
    state, settings = fresh()
    train(state, Draws(), settings, lambda *_: None, lambda: None, lambda: None)
    twin = TwoLayers()
    options = {"betas": (0.7, 0.99), "weight_decay": 0.1}
    top, bottom = torch.optim.AdamW(twin.top.parameters(), 0.02, **options), torch.optim.AdamW(twin.bottom.parameters(), 0.005, **options)
    for step in range(10):
        x, y = Draws().at(step)
        trained = [*twin.top.parameters(), *(twin.bottom.parameters() if step >= 4 else ())]
        gradients = torch.autograd.grad(F.cross_entropy(twin(x), y), trained)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        for parameter, gradient in zip(trained, gradients):
            parameter.grad = gradient * (0.05 / norm).clamp(max=1)
        top.step()
        if step >= 4:
            bottom.step()
    for ours, theirs in zip(state.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stop", range(10))
def test_interrupted_anywhere_it_ends_the_same(stop):
    whole, settings = fresh()
    train(whole, Draws(), settings, lambda *_: None, lambda: None, lambda: None)
    saved, polls = [], iter(range(20))
    state, _ = fresh()

    def save():
        buffer = io.BytesIO()
        torch.save(state.as_plain(), buffer)
        saved.append(buffer.getvalue())

    def poll():
        if next(polls) == stop:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(state, Draws(), settings, lambda *_: None, save, poll)
    state, _ = fresh()
    state.restore(torch.load(io.BytesIO(saved[-1]), weights_only=True))
    assert state.step == stop
    train(state, Draws(), settings, lambda *_: None, lambda: None, lambda: None)
    for one, other in zip(state.network.parameters(), whole.network.parameters()):
        assert one.equal(other)


def test_a_network_that_names_no_layers_is_one():
    settings = dataclasses.replace(smoke().train, momentum=0.9, weight_decay=0.1)
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    optimizer = build_optimizer(network, settings)
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.SGD and (group["momentum"], group["weight_decay"]) == (0.9, 0.1)
    assert group["params"] == list(network[0].parameters())
