"""The network of section 4.2: Inception as Figure 5 lists it, its norm and nonlinearity being arguments."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bn_repro.networks.inception_inference import ProjectFirst
from bn_repro.networks.local_response_norm import LocalResponseNorm
from bn_repro.networks.normed_layer import NormedLayer, build_nonlinearity
from bn_repro.networks.pools import build_pool
from bn_repro.norms import build_norm, fold_batch_norms, normalizes_each_map, subsumes_bias


class Row(NamedTuple):
    """One Inception module: how many filters each of its convolutions has."""

    name: str
    conv_1x1: int
    reduce_3x3: int
    conv_3x3: int
    reduce_double: int
    double_3x3: int
    pool: str
    projection: int  # 0: the pool passes through, and the module has stride 2


class Stem(NamedTuple):
    """What stands before the modules: a first convolution and one of 192 filters, with max pools of stride 2 after them."""

    kernel_size: int
    depth_multiplier: int  # of a separable first convolution; 0: an ordinary one
    num_pools: int  # 1: after the first convolution only


# fmt: off
# The filters are as printed. The printed outputs of 4c, 4d (576) and 4e (1024) contradict them: these sum to 608 and 1056.
FIGURE_5 = (
    #         #1x1  #3x3   #3x3  double   double  pool + proj
    #              reduce        reduce   #3x3
    Row("3a",   64,   64,   64,    64,      96,  "avg",   32),
    Row("3b",   64,   64,   96,    64,      96,  "avg",   64),
    Row("3c",    0,  128,  160,    64,      96,  "max",    0),
    Row("4a",  224,   64,   96,    96,     128,  "avg",  128),
    Row("4b",  192,   96,  128,    96,     128,  "avg",  128),
    Row("4c",  160,  128,  160,   128,     160,  "avg",  128),
    Row("4d",   96,  128,  192,   160,     192,  "avg",  128),
    Row("4e",    0,  128,  192,   192,     256,  "max",    0),
    Row("5a",  352,  192,  320,   160,     224,  "avg",  128),
    Row("5b",  352,  192,  320,   192,     224,  "max",  128),
)

STEMS = {
    #                 kernel  depth       max
    #                         multiplier  pools
    "separable": Stem(  7,      8,        2),  # Figure 5
    "dense":     Stem(  7,      0,        2),  # what the public ports of Figure 5 have
    "pooled":    Stem(  3,      0,        1),  # for images of 28 to 64 pixels, at a quarter of the cost of
    "small":     Stem(  3,      0,        0),  # for images of 28 to 64 pixels
}
# fmt: on


class PerActivation(nn.Module):
    """Apply a norm of (N, C * H * W) features to (N, C, H, W): to each activation, not each map (section 4.2.3)."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(1)).view_as(x)


class InceptionModule(nn.Module):
    """Join the 1x1, 3x3, double 3x3 and pooled branches of one row of Figure 5.

    The 1x1 convolutions that read the module's input are `reductions`: one layer whose output is split, or a layer each.

    Args:
        layer: builds a hidden layer from (in_channels, out_channels, kernel_size, stride).
        is_merged: the reductions are one layer.
    """

    def __init__(self, in_channels: int, row: Row, layer: Callable[..., NormedLayer], is_merged: bool):
        super().__init__()
        stride = 1 if row.projection else 2
        names = ("conv_1x1", "reduce_3x3", "reduce_double") if row.conv_1x1 else ("reduce_3x3", "reduce_double")
        self.is_merged = is_merged
        self.reduction_widths = {name: getattr(row, name) for name in names}
        if is_merged:
            self.reductions = layer(in_channels, sum(self.reduction_widths.values()), 1)
        else:
            self.reductions = nn.ModuleDict({name: layer(in_channels, n, 1) for name, n in self.reduction_widths.items()})
        self.conv_3x3 = layer(row.reduce_3x3, row.conv_3x3, 3, stride)
        self.double_3x3 = nn.Sequential(layer(row.reduce_double, row.double_3x3, 3), layer(row.double_3x3, row.double_3x3, 3, stride))
        self.pool = build_pool(row.pool, stride)
        self.projection = layer(in_channels, row.projection, 1) if row.projection else nn.Identity()
        self.out_channels = row.conv_1x1 + row.conv_3x3 + row.double_3x3 + (row.projection or in_channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)
        if self.is_merged:
            reduced = self.reductions(x).split(list(self.reduction_widths.values()), dim=1)
        else:
            reduced = [self.reductions[name](x) for name in self.reduction_widths]
        direct = [reduced[0]] if "conv_1x1" in self.reduction_widths else []
        branches = [self.conv_3x3(reduced[-2]), self.double_3x3(reduced[-1]), self.projection(self.pool(x))]
        return torch.cat(direct + branches, dim=1)

    def fuse(self) -> nn.Module:
        """Return a copy for inference with its batch norms folded, as timm's `reparameterize_model` asks of a module."""
        return fold_batch_norms(self)

    def fuse_folded(self) -> nn.Module:
        """Return the faster form of a module whose norms are folded; the module itself where it has none."""
        reductions = [self.reductions] if self.is_merged else list(self.reductions.values())
        if not averages_as_built(self.pool) or any(module._forward_hooks or module._forward_pre_hooks for module in self.modules()):
            return self
        if not all(isinstance(layer.norm, nn.Identity) for layer in (*reductions, self.projection)):
            return self
        if len({repr(layer.nonlinearity) for layer in (*reductions, self.projection)}) > 1:
            return self
        return ProjectFirst(list(self.reduction_widths.values()), reductions, self.projection, self.conv_3x3, self.double_3x3)


def averages_as_built(pool: nn.Module) -> bool:
    """Say whether a pool takes means of 3x3 values, zeros around the map among them."""
    if not isinstance(pool, nn.AvgPool2d):
        return False
    sizes = (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, pool.count_include_pad, pool.divisor_override)
    return sizes == (3, 1, 1, False, True, None)


class Inception(nn.Module):
    """Map images (N, in_chans, H, W) to logits (N, num_classes) through 69 layers z = g(norm(W u)).

    Args:
        num_classes: 0 leaves the classifier out; the output is then (N, num_features).
        stem: a name of `STEMS`.
        stem_stride: stride of the first convolution; the paper's is 2.
        width: factor of all numbers of filters, which are rounded to multiples of 8.
        projection_4c_4d: filters of the pool projection of 4c and 4d; 128 as printed, 96 repairs the printed outputs.
        has_lrn: normalize local responses in the stem, as GoogLeNet does.
        drop_rate: dropout before the classifier; GoogLeNet's is 0.4.
        per_activation_size: side of the maps of module 5b, whose norms then take each activation (C, H, W) for a
            feature, as in the paper's ensemble; None normalizes maps there too.
        merge_reductions: run a module's 1x1 convolutions of the same input as one. Norms that treat maps jointly
            ignore it, since they would no longer compute the same.

    Raises:
        ValueError: no stem, norm or nonlinearity has the given name, or the nonlinearity does not act number by number.
    """

    def __init__(
        self,
        num_classes: int,
        in_chans: int = 3,
        norm: str = "batch",
        nonlinearity: str = "relu",
        stem: str = "separable",
        stem_stride: int = 2,
        width: float = 1.0,
        projection_4c_4d: int = 128,
        has_lrn: bool = False,
        drop_rate: float = 0.0,
        per_activation_size: int | None = None,
        merge_reductions: bool = True,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ):
        super().__init__()
        if stem not in STEMS:
            raise ValueError(f"stem '{stem}' does not exist; choices: {', '.join(STEMS)}")
        if nonlinearity == "normalized_tanh":
            raise ValueError("nonlinearity 'normalized_tanh' takes layers as wholes, and Inception's branches share some; take tanh")
        layer = partial(build_layer, norm=norm, nonlinearity=nonlinearity, eps=norm_eps, momentum=norm_momentum)
        self.num_classes, self.in_chans = num_classes, in_chans
        self.stem = build_stem(in_chans, STEMS[stem], stem_stride, width, has_lrn, layer)
        self.inception = nn.Sequential()
        channels = scale(192, width)
        for row in FIGURE_5:
            if row.name in ("4c", "4d"):
                row = row._replace(projection=projection_4c_4d)
            row = Row._make(scale(entry, width) if isinstance(entry, int) else entry for entry in row)
            row_layer = partial(layer, map_size=per_activation_size) if row.name == "5b" else layer
            module = InceptionModule(channels, row, row_layer, merge_reductions and normalizes_each_map(norm))
            self.inception.add_module(row.name, module)
            channels = module.out_channels
        self.num_features = channels
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head_drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(channels, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:  # (N, in_chans, H, W) -> (N, num_features, H / 32, W / 32)
        return self.inception(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:  # (N, in_chans, H, W) -> (N, num_classes)
        return self.fc(self.head_drop(self.global_pool(self.forward_features(x))))


def scale(filters: int, width: float) -> int:
    """Return `width` times the filters, as the nearest multiple of 8 that is not 0; no filters stay none."""
    return 8 * max(1, int(filters * width / 8 + 0.5)) if filters else 0


def build_layer(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    depth_multiplier: int = 0,
    map_size: int | None = None,
    *,
    norm: str,
    nonlinearity: str,
    eps: float,
    momentum: float,
) -> NormedLayer:
    conv = partial(nn.Conv2d, kernel_size=kernel_size, stride=stride, padding=kernel_size // 2)
    has_bias = not subsumes_bias(norm)
    if depth_multiplier:
        between = in_channels * depth_multiplier
        depthwise = conv(in_channels, between, groups=in_channels, bias=False)
        # Nothing stands between the two: together they are one linear map of fewer parameters.
        affine = nn.Sequential(depthwise, nn.Conv2d(between, out_channels, 1, bias=has_bias))
    else:
        affine = conv(in_channels, out_channels, bias=has_bias)
    if map_size:
        normalize = PerActivation(build_norm(norm, out_channels * map_size**2, 0, eps, momentum))
    else:
        normalize = build_norm(norm, out_channels, 2, eps, momentum)
    return NormedLayer(affine, normalize, build_nonlinearity(nonlinearity))


def build_stem(in_chans: int, stem: Stem, stride: int, width: float, has_lrn: bool, layer: Callable[..., NormedLayer]) -> nn.Sequential:
    first, second = scale(64, width), scale(192, width)
    modules = OrderedDict(conv1=layer(in_chans, first, stem.kernel_size, stride, stem.depth_multiplier))
    if stem.num_pools > 0:
        modules["pool1"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    if has_lrn:
        modules["lrn1"] = LocalResponseNorm(5)  # torch's alpha 1e-4, beta 0.75, k 1 are GoogLeNet's
    modules["conv2_reduce"] = layer(first, first, 1)
    modules["conv2"] = layer(first, second, 3)
    if has_lrn:
        modules["lrn2"] = LocalResponseNorm(5)
    if stem.num_pools > 1:
        modules["pool2"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(modules)
