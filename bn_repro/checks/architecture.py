"""What a network will be, known from its config alone: names of its parameters, the largest, sizes of its maps.

The networks themselves stand in `bn_repro/networks`, and a test holds both together.
"""

import math
from collections.abc import Iterator

from bn_repro.config import VIRTUAL_NORMS, Config, NetworkConfig
from bn_repro.config.images import ImageNetworkConfig, InceptionConfig, SigmoidMLPConfig
from bn_repro.config.text import AwdLstmConfig, LanguageModelConfig, TextClassifierConfig, TextDataConfig

MODULES = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
HALVING = ("3c", "4e")  # neither a 1x1 convolution nor a projection
INCEPTION_LARGEST = 760_000  # numbers of one convolution, at width 1
# What stands before the modules: kernel of the first convolution, and the max pools of stride 2 after the two convolutions.
STEMS = {"separable": (7, True, True), "dense": (7, True, True), "pooled": (3, True, False), "small": (3, False, False)}
NORM_PARAMETERS = {
    "none": (),
    "noisy_none": (),
    "noisy_batch": ("0.weight", "0.bias"),
    "outside_gradient": ("gamma", "beta"),
    "outside_gradient_center": ("gamma", "beta"),
    **dict.fromkeys(VIRTUAL_NORMS, ("gamma", "beta")),
}  # the others': weight, bias


def layer_names(network: ImageNetworkConfig) -> list[str]:
    """Name the layers z = g(norm(W u)) in the network's order, and last the affine one that gives the logits."""
    if isinstance(network, SigmoidMLPConfig):
        return [*(f"hidden.{number}" for number in range(network.depth)), "output"]
    assert isinstance(network, InceptionConfig)
    names = ["stem.conv1", "stem.conv2_reduce", "stem.conv2"]
    is_merged = network.merge_reductions and network.norm in (
        "none", "batch", "outside_gradient", "outside_gradient_center", *VIRTUAL_NORMS
    )  # fmt: skip
    for module in MODULES:
        reductions = ["reduce_3x3", "reduce_double"] if module in HALVING else ["conv_1x1", "reduce_3x3", "reduce_double"]
        parts = ["reductions"] if is_merged else [f"reductions.{name}" for name in reductions]
        parts += ["conv_3x3", "double_3x3.0", "double_3x3.1", *([] if module in HALVING else ["projection"])]
        names += [f"inception.{module}.{part}" for part in parts]
    return [*names, "fc"]


def parameter_names(network: NetworkConfig) -> Iterator[str]:
    """Name all parameters, as `named_parameters` of the built network does; none of a baseline that is no network."""
    if isinstance(network, ImageNetworkConfig):
        yield from image_parameters(network)
    elif isinstance(network, LanguageModelConfig):
        yield from ("bias", *encoder_parameters(network))
    elif isinstance(network, TextClassifierConfig):
        yield from () if network.is_frozen else encoder_parameters(network)
        for number in range(len(network.head_drops)):
            block = f"blocks.{number}" if network.is_frozen else f"head.blocks.{number}"
            yield from (f"{block}.norm.{name}" for name in norm_parameters(network))
            yield from (f"{block}.linear.{name}" for name in (("weight", "bias") if network.norm == "none" else ("weight",)))


def image_parameters(network: ImageNetworkConfig) -> Iterator[str]:
    *layers, last = layer_names(network)
    has_bias = network.norm not in ("batch", "noisy_batch", *VIRTUAL_NORMS) or getattr(network, "keep_bias", False)
    for layer in layers:
        affine = f"{layer}.affine"
        if layer == "stem.conv1" and getattr(network, "stem", None) == "separable":
            yield f"{affine}.0.weight"
            affine += ".1"
        yield f"{affine}.weight"
        if has_bias:
            yield f"{affine}.bias"
        is_by_activation = layer.startswith("inception.5b") and getattr(network, "per_activation_size", None)
        norm = f"{layer}.norm.norm" if is_by_activation else f"{layer}.norm"
        yield from (f"{norm}.{name}" for name in norm_parameters(network))
    yield from (f"{last}.weight", f"{last}.bias")


def norm_parameters(network: NetworkConfig) -> tuple[str, ...]:
    return NORM_PARAMETERS.get(network.norm, ("weight", "bias"))


def encoder_parameters(network: AwdLstmConfig) -> Iterator[str]:
    yield "encoder.embedding.weight"
    for layer in range(network.num_layers):
        yield from (f"encoder.layers.{layer}.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def largest_weight(config: Config, image_shape: tuple[int, ...]) -> int:
    """Count the numbers of the network's largest matrix; of an Inception, about."""
    network, sizes = config.network, [0]
    if isinstance(network, SigmoidMLPConfig):
        sizes += [math.prod(image_shape) * network.width, config.data.num_classes * network.width]
        sizes += [network.width**2] if network.depth > 1 else []
    if isinstance(network, InceptionConfig):
        sizes.append(int(INCEPTION_LARGEST * network.width**2))
    if isinstance(network, TextClassifierConfig):
        sizes.append(3 * network.embedding * network.head_width)
    if isinstance(network, AwdLstmConfig) and not getattr(network, "is_frozen", False):
        widths = [network.embedding, *[network.hidden] * (network.num_layers - 1), network.embedding]
        assert isinstance(config.data, TextDataConfig)
        sizes += [config.data.vocabulary_size * network.embedding, *(4 * o * max(i, o) for i, o in zip(widths, widths[1:]))]
    return max(sizes)


def last_map_side(network: InceptionConfig, image_side: int) -> int:
    """Return the side of the maps of module 5b; 0 where the images are too small for the stem's pools."""
    kernel, *pools = STEMS[network.stem]
    side = (image_side + 2 * (kernel // 2) - kernel) // network.stem_stride + 1
    for has_pool in pools:
        if has_pool:
            side = math.ceil((side - 3) / 2) + 1
            if side < 1:
                return 0
    return math.ceil(math.ceil(side / 2) / 2)  # the halving modules
