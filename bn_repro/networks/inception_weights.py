"""How the weights of an Inception are taken over: from its other form, or from the public Caffe layout of BN-Inception."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bn_repro.networks.inception import FIGURE_5, Inception, InceptionModule


def match_reductions(state: Mapping[str, Tensor], network: Inception) -> dict[str, Tensor]:
    """Return `state` in the form of `network`: the 1x1 reductions of its modules merged into one layer, or one layer each.

    Args:
        state: tensors under the names of a state_dict of either form; parameters, buffers or gradients.
    """
    state = dict(state)
    for name, module in network.named_modules():
        if isinstance(module, InceptionModule):
            change = _merge if module.is_merged else _split
            change(state, f"{name}.reductions.", module.reduction_widths)
    return state


def _merge(state: dict[str, Tensor], prefix: str, widths: dict[str, int]) -> None:
    first = f"{prefix}{next(iter(widths))}."
    for tail in [key.removeprefix(first) for key in state if key.startswith(first)]:
        parts = [state.pop(f"{prefix}{name}.{tail}") for name in widths]
        state[prefix + tail] = torch.cat(parts) if parts[0].dim() else parts[0]  # num_batches_tracked is a number


def _split(state: dict[str, Tensor], prefix: str, widths: dict[str, int]) -> None:
    tails = [key.removeprefix(prefix) for key in state if key.startswith(prefix)]
    for tail in [tail for tail in tails if tail.split(".")[0] not in widths]:
        merged = state.pop(prefix + tail)
        parts = [merged] * len(widths)
        if merged.dim():
            per_map = len(merged) // sum(widths.values())  # more than 1 in norms of single activations
            parts = merged.split([per_map * width for width in widths.values()])
        state.update({f"{prefix}{name}.{tail}": part for name, part in zip(widths, parts)})


def caffe_layer_names() -> dict[str, str]:
    """Map the layers of the public Caffe layout of BN-Inception to the layers of the branch-by-branch form."""
    names = {"conv1_7x7_s2": "stem.conv1", "conv2_3x3_reduce": "stem.conv2_reduce", "conv2_3x3": "stem.conv2"}
    for row in FIGURE_5:
        layers = [
            ("3x3_reduce", "reductions.reduce_3x3"),
            ("3x3", "conv_3x3"),
            ("double_3x3_reduce", "reductions.reduce_double"),
            ("double_3x3_1", "double_3x3.0"),
            ("double_3x3_2", "double_3x3.1"),
        ]
        if row.projection:
            layers += [("1x1", "reductions.conv_1x1"), ("pool_proj", "projection")]
        names |= {f"inception_{row.name}_{theirs}": f"inception.{row.name}.{ours}" for theirs, ours in layers}
    return names


def from_caffe_layout(state: Mapping[str, Tensor], network: Inception) -> dict[str, Tensor]:
    """Return a state_dict for `network` from one in the public Caffe layout of BN-Inception.

    That layout keeps a bias b before each batch norm; here it moves into the mean, which becomes E[x] - b. Its
    networks read BGR images of 0 to 255 less (104, 117, 128).

    Args:
        state: layers `conv1_7x7_s2`, `conv1_7x7_s2_bn`, ..., `inception_5b_pool_proj_bn`, and `fc` or `last_linear`.
        network: an Inception of stem `dense` and norm `batch`.

    Raises:
        ValueError: names are missing, names are unknown, or the network is of another kind.
    """
    names = caffe_layer_names()
    classifier = "fc" if "fc.weight" in state else "last_linear"
    expected = {f"{layer}.{value}" for layer in [*names, classifier] for value in ("weight", "bias")}
    expected |= {f"{layer}_bn.{value}" for layer in names for value in ("weight", "bias", "running_mean", "running_var")}
    optional = {f"{layer}_bn.num_batches_tracked" for layer in names}
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected - optional)
    if missing or unknown:
        raise ValueError(f"not the BN-Inception of the Caffe layout: {_some(missing)} missing, {_some(unknown)} unknown")
    ours = {f"fc.{value}": state[f"{classifier}.{value}"] for value in ("weight", "bias")}
    for theirs, layer in names.items():
        # One public file holds the vectors of its batch norms as (1, C).
        norm = {value: state[f"{theirs}_bn.{value}"].flatten() for value in ("weight", "bias", "running_mean", "running_var")}
        norm["running_mean"] = norm["running_mean"] - state[f"{theirs}.bias"]
        norm["num_batches_tracked"] = state.get(f"{theirs}_bn.num_batches_tracked", torch.tensor(0))
        ours[f"{layer}.affine.weight"] = state[f"{theirs}.weight"]
        ours |= {f"{layer}.norm.{value}": tensor for value, tensor in norm.items()}
    ours = match_reductions(ours, network)
    if {key for key in ours.keys() ^ network.state_dict().keys() if not key.startswith("fc.")}:
        raise ValueError("the Caffe layout fits an Inception of stem=dense and norm=batch only")
    return ours


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "nothing"
