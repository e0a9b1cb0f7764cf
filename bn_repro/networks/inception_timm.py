"""Inception under timm's model contract: after importing this file `timm.create_model("bn_inception")` works."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import create_classifier, get_device_dtype
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bn_repro.networks.inception import FIGURE_5, STEMS, Inception
from bn_repro.networks.inception_weights import from_caffe_layout, match_reductions
from bn_repro.networks.initialization import init_he
from bn_repro.norms import OutsideGradientNorm, batch_norms

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class TimmInception(Inception):
    """An `Inception` with the attributes and methods that timm asks of a model; its other arguments are the same.

    It is initialized as by `init_he`, from torch's global generator, as timm's models are.

    Args:
        global_pool: timm's name of the pooling before the classifier; "" leaves the maps as they are.
        device, dtype: of the parameters and statistics.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        stem: str = "dense",
        stem_stride: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **kwargs: Any,
    ):
        super().__init__(0, in_chans, stem=stem, stem_stride=stem_stride, **kwargs)
        self.to(device=device, dtype=dtype)
        self.grad_checkpointing = False
        self.feature_info = self._last_of_each_resolution(stem_stride, STEMS[stem].num_pools)
        self.reset_classifier(num_classes, global_pool)
        init_he(self, generator=None)

    def _last_of_each_resolution(self, reduction: int, num_pools: int) -> list[dict[str, Any]]:
        levels = []
        if num_pools > 0:
            levels.append({"num_chs": self.stem.conv2_reduce.affine.in_channels, "reduction": reduction, "module": "stem.conv1"})
            reduction *= 2
        if num_pools > 1:
            levels.append({"num_chs": self.stem.conv2.affine.out_channels, "reduction": reduction, "module": "stem.conv2"})
            reduction *= 2
        for times, name in ((1, "3b"), (2, "4d"), (4, "5b")):
            channels = self.inception.get_submodule(name).out_channels
            levels.append({"num_chs": channels, "reduction": times * reduction, "module": f"inception.{name}"})
        return levels

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield (name, module) of what stands before the head, in the order of the forward pass."""
        for group in ("stem", "inception"):
            for name, module in getattr(self, group).named_children():
                yield f"{group}.{name}", module

    def run_stage(self, module: nn.Module, x: Tensor) -> Tensor:
        return forgetting_activations(module, x) if self.grad_checkpointing else module(x)

    def forward_features(self, x: Tensor) -> Tensor:
        for _, module in self.stages():
            x = self.run_stage(module, x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the final features and the outputs of the chosen levels of `feature_info`.

        Args:
            indices: the last n levels, the levels with these indices, or all.
            norm: without effect; no norm stands after the levels.
            stop_early: end after the last chosen level; the final features are then its output.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt '{output_fmt}' does not exist; choices: NCHW")
        chosen, last = feature_take_indices(len(self.feature_info), indices)
        taps = [info["module"] for info in self.feature_info]
        outputs = {}
        for name, module in self.stages():
            x = self.run_stage(module, x)
            outputs[name] = x
            if stop_early and name == taps[last]:
                break
        intermediates = [outputs[taps[i]] for i in chosen]
        return intermediates if intermediates_only else (x, intermediates)

    def prune_intermediate_layers(self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True) -> list[int]:
        """Remove the stages after the last of the chosen levels, and the head, which fits none but the last; return the levels' indices.

        Args:
            prune_norm: without effect; no norm stands after the levels.
        """
        chosen, last = feature_take_indices(len(self.feature_info), indices)
        names = [name for name, _ in self.stages()]
        after = names[names.index(self.feature_info[last]["module"]) + 1 :]
        for name in after:
            group, _, child = name.partition(".")
            delattr(getattr(self, group), child)
        self.feature_info = self.feature_info[: last + 1]
        if after:
            self.num_features = self.feature_info[last]["num_chs"]
        if prune_head or after:
            self.reset_classifier(0, "")
        return chosen

    def get_classifier(self, name_only: bool = False) -> nn.Module | str:
        return "fc" if name_only else self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier in place, and another pooling unless None; 0 classes leave the classifier out."""
        pool_type = self.global_pool.pool_type if global_pool is None else global_pool
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(self.num_features, num_classes, pool_type=pool_type, **get_device_dtype(self))
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.global_pool.train(self.training)
        self.fc.train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass; batch norms count each batch once all the same."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's grouping of parameters by depth: the stem, then resolutions (coarse) or modules."""
        modules = [(rf"^inception\.{row.name}", (depth,)) for depth, row in enumerate(FIGURE_5)]
        return {"stem": r"^stem", "blocks": r"^inception\.(\d)" if coarse else modules}


def forgetting_activations(module: nn.Module, x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():  # a compiled recomputation leaves the moving averages alone
        return checkpoint(module, x, use_reentrant=False)
    return checkpoint(module, x, use_reentrant=False, context_fn=lambda: (nullcontext(), already_counted(module)))


@contextmanager
def already_counted(module: nn.Module) -> Iterator[None]:
    """Let batch norms normalize by their batch without adding it to their moving averages."""
    layers = batch_norms(module)
    faulty = [layer for layer in module.modules() if isinstance(layer, OutsideGradientNorm)]
    momenta = [layer.momentum for layer in (*layers, *faulty)]
    counts = [layer.num_batches_tracked for layer in layers]
    for layer in (*layers, *faulty):
        layer.momentum = 0.0
    for layer in layers:
        layer.num_batches_tracked = None
    try:
        yield
    finally:
        for layer, momentum in zip((*layers, *faulty), momenta):
            layer.momentum = momentum
        for layer, count in zip(layers, counts):
            layer.num_batches_tracked = count


def _checkpoint_filter(state: dict[str, Tensor], network: TimmInception) -> dict[str, Tensor]:
    return from_caffe_layout(state, network) if "conv1_7x7_s2.weight" in state else match_reductions(state, network)


def _create(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    # timm's extractor of all five levels would fail on the small networks, which have three.
    levels = {"out_indices": (0, 1, 2)} if kwargs["stem"] == "small" else {}
    return build_model_with_cfg(
        TimmInception,
        variant,
        pretrained,
        pretrained_filter_fn=_checkpoint_filter,
        feature_cfg={"flatten_sequential": True, **levels},
        **kwargs,
    )


IMAGENET = {
    "num_classes": 1000, "input_size": (3, 224, 224), "pool_size": (7, 7), "crop_pct": 0.875, "interpolation": "bilinear",
    "mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD, "first_conv": "stem.conv1.affine", "classifier": "fc",
}  # fmt: skip
CIFAR = IMAGENET | {
    "num_classes": 10, "input_size": (3, 32, 32), "pool_size": (8, 8), "crop_pct": 1.0, "mean": CIFAR_MEAN, "std": CIFAR_STD,
}  # fmt: skip

default_cfgs = generate_default_cfgs(
    {
        "bn_inception": IMAGENET,
        "bn_inception_separable": IMAGENET | {"first_conv": "stem.conv1.affine.0"},
        "inception_no_bn": IMAGENET,
        "bn_inception_small": CIFAR,
        "inception_small_no_bn": CIFAR,
    }
)


@register_model
def bn_inception(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Figure 5 with an ordinary 7x7 first convolution, to which the public weights fit and timm adapts `in_chans`."""
    return _create("bn_inception", pretrained, **{"stem": "dense", "norm": "batch", **kwargs})


@register_model
def bn_inception_separable(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Figure 5 with its separable first convolution."""
    return _create("bn_inception_separable", pretrained, **{"stem": "separable", "norm": "batch", **kwargs})


@register_model
def inception_no_bn(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`bn_inception` without any norm, the paper's arm "Inception"."""
    return _create("inception_no_bn", pretrained, **{"stem": "dense", "norm": "none", **kwargs})


@register_model
def bn_inception_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Figure 5's modules on 32x32, 16x16 and 8x8 maps of 32x32 images, behind a stem without strides."""
    return _create("bn_inception_small", pretrained, **{"stem": "small", "stem_stride": 1, "norm": "batch", **kwargs})


@register_model
def inception_small_no_bn(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`bn_inception_small` without any norm."""
    return _create("inception_small_no_bn", pretrained, **{"stem": "small", "stem_stride": 1, "norm": "none", **kwargs})
