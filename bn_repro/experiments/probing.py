"""What probes add to a run's record: activations, and what internal covariate shift and its rivals look like before a step."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bn_repro.config import Config, ProbeConfig
from bn_repro.config.images import of_images
from bn_repro.data.examples import TrainingBatches
from bn_repro.networks import build_network
from bn_repro.probes import (
    ActivationProbe,
    gradient_shift,
    landscape_along_gradient,
    layer_jacobians,
    magnitudes,
    sites_around,
    step_cost,
)
from bn_repro.training.distributed import num_ranks
from bn_repro.training.loop import TrainState, loss_of
from bn_repro.training.schedule import at_rates_of, lr_at

SPECTRUM_PERCENTILES = (0, 10, 25, 50, 75, 90)
SMALLEST = 1e-6  # singular values below it count as it, so that one zero is not infinitely far from 1


def activation_probe(network: nn.Module, config: ProbeConfig) -> ActivationProbe:
    return ActivationProbe(network, sites_around(network), config.percentiles, config.num_units, config.histogram_bins)


def generator_of(config: Config, step: int) -> torch.Generator:
    """Return the generator of all that is drawn to measure before a step; training never draws from it."""
    seed = np.random.SeedSequence((config.seed, step)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed >> np.uint64(1)))


def measures_before_step(state: TrainState, batches: TrainingBatches, probe_x: Tensor, config: Config) -> dict[str, float]:
    """Return `{"<probe>/<what>": number}` of the probes that are due before the next step; training stays the same, bit for bit.

    `gradient_shift/<layer>/<measure>`, `landscape/<measure>`, `magnitudes/<layer>/<measure>` and `step_cost/<measure>` are of
    the very batch, learning rate and random numbers of the next step, and there is none after the last.
    `jacobian/<layer>/<measure>` is of the fixed probe batch.

    Raises:
        ValueError: several ranks share a batch, so that none sees the gradient of the step.
    """
    step, probe, has_next = state.step, config.probe, state.step < config.train.steps
    due = {
        name: bool(every) and (step % every == 0) and (has_next or name == "jacobian")
        for name, every in (
            ("gradient_shift", probe.gradient_shift_every),
            ("landscape", probe.landscape_every),
            ("magnitudes", probe.magnitudes_every),
            ("step_cost", probe.step_cost_every),
            ("jacobian", probe.jacobian_every),
        )
    }
    if not any(due.values()) or not all(p.isfinite().all() for p in state.network.parameters()):
        return {}
    if num_ranks() > 1:
        raise ValueError(
            "probe.gradient_shift_every, landscape_every, magnitudes_every, step_cost_every and jacobian_every need a run of one process"
        )
    lr, found = lr_at(step, config.train), {}
    with at_rates_of(state.optimizer, step, config.train):
        layers = layers_over_depth(state.network, probe.num_layers)
        if any(due[name] for name in due if name != "jacobian"):
            x, y = batches.at(step)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=config.train.precision == "bfloat16"):
                if due["gradient_shift"]:
                    found["gradient_shift"] = gradient_shift(state.network, state.optimizer, loss_of, x, y, layers)
                if due["landscape"]:
                    found["landscape"] = landscape_along_gradient(state.network, loss_of, x, y, lr)
                if due["magnitudes"]:
                    found["magnitudes"] = magnitudes(state.network, loss_of, x, y)
                if due["step_cost"]:
                    found["step_cost"] = step_cost(state.network, without_norms(config, x), loss_of, x, y)
        if due["jacobian"]:
            found["jacobian"] = jacobian_measures(state.network, probe_x, layers, generator_of(config, step))
    return {f"{name}/{what}": value for name, measures in found.items() for what, value in measures.items()}


def without_norms(config: Config, x: Tensor) -> nn.Module:
    """Build the configured network without norms and dropout, and with tanh in place of Goldberg's."""
    _, network = of_images(config)
    changes: dict[str, Any] = {"norm": "none", "drop_rate": 0.0, "has_lrn": False}
    if network.nonlinearity == "normalized_tanh":
        changes["nonlinearity"] = "tanh"
    names = {field.name for field in dataclasses.fields(network)}
    settings = dataclasses.replace(network, **{name: value for name, value in changes.items() if name in names})
    with torch.random.fork_rng([]):  # what a build draws is not training's
        return build_network(settings, tuple(x.shape[1:]), config.data.num_classes, config.seed).to(x.device)


def layers_over_depth(network: nn.Module, num: int) -> list[str]:
    """Name at most `num` layers with a trainable weight matrix, evenly spread in the network's order, first and last among them."""
    layers: list[str] = []
    for name, module in network.named_modules():
        is_normed = hasattr(module, "affine") and hasattr(module, "norm")
        weights = [p for p in module.parameters(recurse=is_normed) if p.dim() > 1 and p.requires_grad]
        if weights and not any(name.startswith(f"{layer}.") for layer in layers):
            layers.append(name)
    chosen = np.linspace(0, len(layers) - 1, min(num, len(layers))).round().astype(int)
    return [layers[index] for index in chosen]


def jacobian_measures(network: nn.Module, x: Tensor, layers: list[str], generator: torch.Generator) -> dict[str, float]:
    """Return `{"<layer>/<measure>": number}` of the singular values of d norm(affine(u)) / du, of the layers that have a norm.

    The measures: `largest` and `root_mean_square` of an example's, and `batch_largest` of the whole batch's. Where all of an
    example's are known: their percentiles `p0` to `p90`; `distance_from_one`, the mean of |ln s|; and `spread`, the standard
    deviation of ln s, which the layer's scale does not change.
    """
    normed = [layer for layer in layers if hasattr(network.get_submodule(layer), "norm")]
    try:
        arrays = layer_jacobians(network, x, generator, layers=normed)
    except torch.linalg.LinAlgError:  # what torch raises of a network about to diverge, whose activations are infinite
        return {}
    measures = {}
    for layer in normed:
        values = arrays[f"{layer}/singular_values"][0].astype(float)
        measures[f"{layer}/largest"] = float(values[0])
        measures[f"{layer}/root_mean_square"] = float(np.sqrt(arrays[f"{layer}/mean_square"]))
        measures[f"{layer}/batch_largest"] = float(arrays[f"{layer}/batch_largest"])
        if arrays[f"{layer}/is_exact"]:
            measures |= {f"{layer}/p{p}": float(np.percentile(values, p)) for p in SPECTRUM_PERCENTILES}
            logs = np.log(np.maximum(values, SMALLEST))
            measures |= {f"{layer}/distance_from_one": float(np.abs(logs).mean()), f"{layer}/spread": float(logs.std())}
    return measures
