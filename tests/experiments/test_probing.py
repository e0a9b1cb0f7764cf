"""Do the probes of a run measure the very next step, at their cadences, and leave training as it is?"""

import copy
import dataclasses
import functools

import numpy as np
import pytest
import torch
from composed import composed

from bn_repro.experiments import probing, supervised
from bn_repro.experiments.probing import generator_of, layers_over_depth, measures_before_step
from bn_repro.records import files
from bn_repro.records.record import DIVERGED, Run, run_folder
from bn_repro.training.loop import loss_of, train
from bn_repro.training.schedule import lr_at

pytestmark = pytest.mark.usefixtures("restored_torch_settings")
UNWATCHED = (
    "probe.every=0",
    "probe.gradient_shift_every=0",
    "probe.landscape_every=0",
    "probe.jacobian_every=0",
    "probe.magnitudes_every=0",
)


def smoke(folder, *overrides, experiment="covariate_shift"):
    config = composed(f"experiment={experiment}/smoke", "seed=0", "wandb.mode=disabled", *overrides)
    return dataclasses.replace(config, results_folder=str(folder), name="run")


def training_of(config):
    """Return what training alone leaves: its rows, and its weights as bytes."""
    supervised.run(config)
    run = Run(run_folder(config))
    rows = [{name: value for name, value in row.items() if "/" not in name and name != "probe_loss"} for row in run.metrics]
    return rows, (run.folder / files.WEIGHTS).read_bytes()


@pytest.mark.parametrize("norm", ["batch", "noisy_batch", "none"])
def test_a_measured_run_trains_as_one_that_is_not(tmp_path, norm):
    overrides = (f"norm={norm}", "train.momentum=0.9", "train.schedule=cosine", "train.final_lr_ratio=0.1")
    assert training_of(smoke(tmp_path / "with", *overrides)) == training_of(smoke(tmp_path / "without", *overrides, *UNWATCHED))


def test_a_measured_inception_with_dropout_trains_as_one_that_is_not(tmp_path):
    configure = functools.partial(smoke, experiment="covariate_shift_inception")
    overrides = ("norm=noisy_batch", "network.drop_rate=0.3", "train.weight_decay=0.001")
    watched = configure(tmp_path / "with", *overrides)
    assert training_of(watched) == training_of(configure(tmp_path / "without", *overrides, *UNWATCHED))
    row = Run(run_folder(watched)).metrics[0]
    shifted = [name.split("/")[1] for name in row if name.startswith("gradient_shift/") and name.endswith("/cosine")]
    assert len(shifted) == 6 and (shifted[0], shifted[-1]) == ("stem.conv1", "fc")
    assert sum(name.endswith("/batch_largest") for name in row) == 5  # the classifier has no norm


def test_rows_have_what_is_due(tmp_path):
    config = smoke(tmp_path, "norm=batch")
    supervised.run(config)
    due = {row["step"]: {name.split("/")[0] for name in row if "/" in name} for row in Run(run_folder(config)).metrics}
    both = {"gradient_shift", "landscape"}
    rare = {"jacobian", "magnitudes"}
    assert due == {0: both | rare, 10: set(), 20: both, 30: rare, 40: both, 50: set(), 60: {"jacobian"}}
    row = Run(run_folder(config)).metrics[2]
    assert {name.split("/")[1] for name in row if name.startswith("gradient_shift/")} == {"hidden.0", "hidden.1", "hidden.2", "output"}
    assert row["gradient_shift/hidden.0/shift"] == 0 < row["gradient_shift/hidden.1/shift"]
    assert row["landscape/loss_min"] <= row["landscape/loss_max"]


def test_the_measured_step_is_the_one_that_training_makes(tmp_path):
    """The gradient shift and the landscape of step 3, anew from the weights, the batch and the rate that training then uses."""
    config = smoke(tmp_path, "norm=none", "train.momentum=0.9", "train.schedule=cosine", "train.final_lr_ratio=0.1")
    settings = dataclasses.replace(config.train, steps=4, eval_every=1)
    probe = dataclasses.replace(config.probe, gradient_shift_every=1, landscape_every=1)
    config = dataclasses.replace(config, train=settings, probe=probe)
    state, task = supervised.build(config)
    measured, states = {}, {}

    def measure(step, _):
        states[step] = copy.deepcopy(state.network.state_dict())
        measured[step] = measures_before_step(state, task.batches, task.examples.between(0, 10)[0], config)

    train(state, task.batches, settings, measure, lambda: None, lambda: None)
    x, y = task.batches.at(3)
    network, lr = state.network, lr_at(3, settings)
    network.load_state_dict(states[3])
    before = torch.autograd.grad(loss_of(network(x), y), network.output.weight)[0]
    network.load_state_dict({name: states[4 if name.startswith("hidden") else 3][name] for name in states[3]})
    after = torch.autograd.grad(loss_of(network(x), y), network.output.weight)[0]
    assert measured[3]["gradient_shift/output/shift"] == pytest.approx((after - before).norm().item(), rel=1e-4)
    network.load_state_dict(states[3])
    gradients = torch.autograd.grad(loss_of(network(x), y), list(network.parameters()))
    losses = []
    for multiple in (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4):
        network.load_state_dict({n: states[3][n] - multiple * lr * g for (n, _), g in zip(network.named_parameters(), gradients)})
        losses.append(loss_of(network(x), y).item())
    assert measured[3]["landscape/loss_max"] == pytest.approx(max(losses), rel=1e-5)
    assert measured[3]["landscape/loss_min"] == pytest.approx(min(losses), rel=1e-5)


def test_distributions_of_noisy_norms_are_measured_with_noise_of_their_own(tmp_path):
    found = {}
    for name, overrides in (("first", ()), ("again", ()), ("seed", ("seed=1",))):
        config = smoke(tmp_path / name, "norm=noisy_none", *overrides)
        supervised.run(config)
        found[name] = Run(run_folder(config)).activations
    before, after = (found["first"][f"hidden.2/{place}/percentiles"] for place in ("before_norm", "after_norm"))
    assert not np.isclose(before, after).any()
    assert all(np.array_equal(found["again"][name], array) for name, array in found["first"].items())
    shifts = [(run["hidden.2/after_norm/mean"] - run["hidden.2/before_norm/mean"])[0] for run in (found["first"], found["seed"])]
    assert shifts[0] != shifts[1]


def test_a_spectrum_in_numbers(monkeypatch):
    values = np.exp([[2.0, 1.0, 0.0, -1.0, -2.0]])
    arrays = {"0/singular_values": values, "0/mean_square": 4.0, "0/batch_largest": 3.0, "0/is_exact": True}
    monkeypatch.setattr(probing, "layer_jacobians", lambda *_, **__: arrays)
    network = torch.nn.Sequential(torch.nn.Module())
    network[0].norm = torch.nn.Identity()
    found = probing.jacobian_measures(network, torch.zeros(1), ["0"], torch.Generator())
    assert found["0/distance_from_one"] == pytest.approx(1.2) and found["0/spread"] == pytest.approx(2**0.5)
    assert (found["0/p0"], found["0/p50"], found["0/largest"]) == pytest.approx((np.exp(-2), 1, np.exp(2)))
    assert (found["0/root_mean_square"], found["0/batch_largest"]) == (2.0, 3.0)


def test_each_step_and_seed_draws_its_own():
    config = composed("experiment=covariate_shift/smoke", "norm=batch", "seed=0")
    draws = [
        torch.rand(4, generator=generator_of(dataclasses.replace(config, seed=seed), step))
        for seed, step in ((0, 1), (1, 0), (0, 0), (0, 1))
    ]
    assert torch.equal(draws[0], draws[3]) and len({tuple(draw.tolist()) for draw in draws}) == 3


def test_layers_are_spread_over_the_depth():
    network = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()) for _ in range(9)))
    assert layers_over_depth(network, 3) == ["0.0", "4.0", "8.0"]
    assert layers_over_depth(network, 20) == [f"{index}.0" for index in range(9)]
    network[0].requires_grad_(False)
    assert layers_over_depth(network, 2) == ["1.0", "8.0"]


def test_divergence_stays_an_outcome(tmp_path):
    config = smoke(tmp_path, "norm=none", "train.lr=1e38", "probe.gradient_shift_every=10", "probe.jacobian_every=10")
    assert supervised.run(config)["status"] == DIVERGED
    assert [row["step"] for row in Run(run_folder(config)).metrics] == [0, 10]


def test_several_ranks_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(probing, "num_ranks", lambda: 2)
    config = smoke(tmp_path, "norm=batch")
    state, task = supervised.build(config)
    with pytest.raises(ValueError, match="one process"):
        measures_before_step(state, task.batches, task.examples.between(0, 10)[0], config)


@pytest.mark.parametrize("knob", ["gradient_shift_every", "landscape_every", "jacobian_every", "magnitudes_every", "step_cost_every"])
def test_a_cadence_is_a_multiple_of_the_rows(tmp_path, knob):
    with pytest.raises(ValueError, match=f"probe.{knob}=15 must be a multiple of train.eval_every=10"):
        supervised.run(smoke(tmp_path, "norm=batch", f"probe.{knob}=15"))
