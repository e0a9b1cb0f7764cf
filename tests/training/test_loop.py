"""Is training what a bare hand-written loop does, resumed exactly from anywhere, with divergence recorded to the step?"""

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from composed import smoke
from torch import nn
from torch.nn import functional as F

from bn_repro.data.images import Batches, Images
from bn_repro.networks import SigmoidMLP
from bn_repro.training.loop import Interrupted, TrainState, evaluate, train

SEED, NUM_EXAMPLES, BATCH_SIZE = 5, 70, 8


def config(**changes):
    settings = {"steps": 14, "batch_size": BATCH_SIZE, "lr": 0.5, "eval_every": 4, "checkpoint_every": 3}
    return dataclasses.replace(smoke().train, **(settings | changes))


def images():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (NUM_EXAMPLES, 4, 4), dtype=np.uint8)
    return Images(torch.from_numpy(pixels), torch.from_numpy(random.integers(0, 10, NUM_EXAMPLES)))


def fresh(norm="batch", momentum=0.9, weight_decay=0.0, seed=0):
    network = SigmoidMLP(16, 10, width=6, norm=norm)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    return TrainState(network, torch.optim.SGD(network.parameters(), lr=1.0, momentum=momentum, weight_decay=weight_decay))


class Watched:
    """Train a state, keep rows and checkpoints, and raise `Interrupted` at the poll of a given number."""

    def __init__(self, state, interrupt_at=None, rows=()):
        self.state, self.interrupt_at, self.num_polls = state, interrupt_at, 0
        self.rows, self.saved = list(rows), []

    def poll(self):
        self.num_polls += 1
        if self.num_polls - 1 == self.interrupt_at:
            raise Interrupted

    def measure(self, step, train_loss):
        accuracy, loss, _ = evaluate(self.state.network, images(), self.poll, batch_size=40)
        self.rows.append((step, train_loss, accuracy, loss))

    def save(self):
        buffer = io.BytesIO()
        torch.save(self.state.as_plain(), buffer)
        self.saved.append((self.state.step, buffer.getvalue()))

    def train(self, settings, batches=None):
        train(self.state, batches or Batches(images(), BATCH_SIZE, SEED), settings, self.measure, self.save, self.poll)
        return self


def resumed(saved, rows, interrupt_at=None, **kwargs):
    """Return a new process's view: other initial weights, other random state, then the checkpoint and the rows before it."""
    step, content = saved
    torch.manual_seed(99)
    state = fresh(seed=1, **kwargs)
    state.restore(torch.load(io.BytesIO(content), weights_only=True))
    assert state.step == step
    return Watched(state, interrupt_at, [row for row in rows if row[0] < step])


def assert_same_end(one, other):
    assert one.rows == other.rows or str(one.rows) == str(other.rows)  # a nan equals no nan
    assert (one.state.step, one.state.first_bad_step) == (other.state.step, other.state.first_bad_step)
    tensors, others = (TrainState.as_plain(watched.state)["network"] for watched in (one, other))
    assert all(tensor.equal(others[name]) or (tensor.isnan() == others[name].isnan()).all() for name, tensor in tensors.items())


@pytest.mark.parametrize("norm, momentum, schedule", [("none", 0.0, "constant"), ("batch", 0.9, "exponential")])
def test_a_bare_loop_agrees(norm, momentum, schedule):
    """The same network of torch's parts, the update rule and the order of the examples written out by hand."""
    settings = config(schedule=schedule, final_lr_ratio=0.1)
    state = fresh(norm, momentum, weight_decay=0.01)
    layers = []
    for layer in state.network.hidden:
        layers += [nn.Linear(*reversed(layer.affine.weight.shape), bias=norm == "none")]
        layers += [nn.BatchNorm1d(6)] if norm == "batch" else []
        layers += [nn.Sigmoid()]
    bare = nn.Sequential(nn.Flatten(), *layers, nn.Linear(6, 10))
    with torch.no_grad():
        for parameter, ours in zip(bare.parameters(), state.network.parameters(), strict=True):
            parameter.copy_(ours)
    watched = Watched(state).train(settings)

    data = images()
    velocities = [torch.zeros_like(p) for p in bare.parameters()]
    losses = []
    for step in range(14):
        epoch, position = divmod(step, 70 // 8)
        order = np.random.default_rng([SEED, epoch]).permutation(70)[8 * position : 8 * position + 8]
        loss = F.cross_entropy(bare(data.pixels[order] / 255), data.labels[order])
        losses.append(loss.item())
        lr = 0.5 if schedule == "constant" else 0.5 * 0.1 ** (step / 14)
        gradients = torch.autograd.grad(loss, list(bare.parameters()))
        with torch.no_grad():
            for parameter, velocity, gradient in zip(bare.parameters(), velocities, gradients):
                velocity.mul_(momentum).add_(gradient + 0.01 * parameter)
                parameter -= lr * velocity
    for parameter, ours in zip(bare.parameters(), state.network.parameters()):
        torch.testing.assert_close(ours, parameter, rtol=1e-6, atol=1e-6)
    for buffer, ours in zip(bare.buffers(), state.network.buffers()):
        torch.testing.assert_close(ours, buffer, rtol=1e-5, atol=1e-6)

    assert [row[0] for row in watched.rows] == [0, 4, 8, 12, 14]
    assert watched.rows[0][1] is None
    means = [np.mean(losses[start:stop]) for start, stop in ((0, 4), (4, 8), (8, 12), (12, 14))]
    assert [row[1] for row in watched.rows[1:]] == pytest.approx(means, rel=1e-5)
    logits = bare.eval()(data.pixels / 255)
    assert watched.rows[-1][2] == pytest.approx((logits.argmax(1) == data.labels).double().mean().item())
    assert watched.rows[-1][3] == pytest.approx(F.cross_entropy(logits, data.labels).item(), rel=1e-5)


@pytest.mark.parametrize("norm, momentum", [("none", 0.0), ("batch", 0.9), ("noisy_batch", 0.9), ("noisy_none", 0.0)])
def test_resumed_from_every_checkpoint_it_ends_the_same(norm, momentum):
    whole = Watched(fresh(norm, momentum)).train(config())
    assert [step for step, _ in whole.saved] == [3, 6, 9, 12]
    for saved in whole.saved:
        again = resumed(saved, whole.rows, norm=norm, momentum=momentum).train(config())
        assert_same_end(again, whole)
        assert [step for step, _ in again.saved] == [step for step in (3, 6, 9, 12) if step > saved[0]]


def test_dropout_goes_on_where_it_was():
    """The random numbers of the steps that follow a checkpoint are those that would have followed."""

    def with_dropout():
        state = fresh()
        state.network = nn.Sequential(state.network, nn.Dropout(0.5))
        return state

    torch.manual_seed(3)
    whole = Watched(with_dropout()).train(config())
    for step, content in whole.saved:
        torch.manual_seed(99)
        state = with_dropout()
        state.restore(torch.load(io.BytesIO(content), weights_only=True))
        assert_same_end(Watched(state, rows=[row for row in whole.rows if row[0] < step]).train(config()), whole)


@pytest.mark.parametrize("norm, momentum", [("none", 0.0), ("batch", 0.9)])
def test_interrupted_at_any_poll_it_saves_and_ends_the_same(norm, momentum):
    settings = config(steps=9)
    whole = Watched(fresh(norm, momentum)).train(settings)
    for number in range(whole.num_polls):
        watched = Watched(fresh(norm, momentum), interrupt_at=number)
        with pytest.raises(Interrupted):
            watched.train(settings)
        assert watched.saved[-1][0] == watched.state.step
        again = resumed(watched.saved[-1], watched.rows, norm=norm, momentum=momentum).train(settings)
        assert again.rows == whole.rows, f"interrupted at poll {number}, step {watched.state.step}"
        assert_same_end(again, whole)


def test_interrupted_at_every_second_poll_it_still_ends():
    settings = config(steps=9)
    whole = Watched(fresh()).train(settings)
    watched = Watched(fresh(), interrupt_at=5)
    for _ in range(30):
        try:
            watched.train(settings)
            break
        except Interrupted:
            watched = resumed(watched.saved[-1], watched.rows, interrupt_at=5)
    assert_same_end(watched, whole)


class BadFrom:
    """Batches whose pixels are not numbers at one step."""

    def __init__(self, step):
        self.step, self.batches = step, Batches(images(), BATCH_SIZE, SEED)

    def at(self, step):
        x, y = self.batches.at(step)
        return (x * math.nan if step == self.step else x), y


@pytest.mark.parametrize("bad_step, last_row", [(0, 4), (3, 4), (4, 8), (6, 8), (12, 14), (13, 14)])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_divergence_is_recorded_with_its_step(norm, bad_step, last_row):
    whole = Watched(fresh(norm)).train(config(), BadFrom(bad_step))
    assert whole.state.first_bad_step == bad_step
    assert whole.state.step == whole.rows[-1][0] == last_row
    assert math.isnan(whole.rows[-1][1]) and not any(math.isnan(row[1]) for row in whole.rows[1:-1])
    for saved in whole.saved:
        assert_same_end(resumed(saved, whole.rows, norm=norm).train(config(), BadFrom(bad_step)), whole)


def test_a_sound_run_has_no_bad_step():
    watched = Watched(fresh()).train(config())
    assert watched.state.first_bad_step is None and watched.state.step == 14


def test_a_measurement_may_end_the_training():
    watched = Watched(fresh())
    measure = watched.measure
    watched.measure = lambda step, loss: measure(step, loss) or step >= 5
    watched.train(config(eval_every=3))
    assert watched.state.step == 6 and watched.rows[-1][0] == 6 and watched.state.first_bad_step is None


def test_a_finished_state_is_measured_again_and_not_trained():
    whole = Watched(fresh()).train(config(checkpoint_every=7))
    again = resumed(whole.saved[-1], whole.rows).train(config())
    assert whole.saved[-1][0] == 14
    assert_same_end(again, whole)


def test_every_step_may_be_the_last():
    watched = Watched(fresh()).train(config(eval_every=14))
    assert watched.num_polls >= 14 + 2 * 2  # each of two evaluations takes two batches


def test_a_failed_save_stops_the_run():
    watched = Watched(fresh())

    def full():
        raise OSError("No space left on device")

    watched.save = full
    with pytest.raises(OSError, match="No space left"):
        watched.train(config())
    assert watched.state.step == 3


class Fixed(nn.Module):
    """Give the class that the first pixel of an image says a logit of ln 9, the others 0."""

    def __init__(self):
        super().__init__()
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(1)
        self.norm.eval()

    def forward(self, x):
        assert not self.drop.training and not self.norm.training
        return F.one_hot((x[:, 0, 0] * 255).round().long(), 10).float() * math.log(9)


def test_evaluation_by_hand():
    """Five images, of which 1, 3 and the last are right: p = 9/18 for the class said, 1/18 for another."""
    pixels = torch.tensor([3, 5, 7, 0, 9], dtype=torch.uint8).view(5, 1, 1)
    network, polls = Fixed(), []
    accuracy, loss, is_correct = evaluate(network, Images(pixels, torch.tensor([3, 1, 7, 4, 9])), lambda: polls.append(1), batch_size=2)
    assert accuracy == pytest.approx(3 / 5) and len(polls) == 3
    assert is_correct.tolist() == [True, False, True, False, True]
    assert loss == pytest.approx((3 * math.log(2) + 2 * math.log(18)) / 5)


@pytest.mark.parametrize("fails", [False, True])
def test_evaluation_restores_every_mode(fails):
    network = Fixed()
    modes = [module.training for module in network.modules()]

    def poll():
        if fails:
            raise Interrupted

    try:
        evaluate(network, Images(torch.zeros(3, 1, 1, dtype=torch.uint8), torch.zeros(3, dtype=torch.long)), poll, batch_size=2)
    except Interrupted:
        assert fails
    assert [module.training for module in network.modules()] == modes == [True, True, False]
