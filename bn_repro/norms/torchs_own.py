"""Which modules compute what torch's own layer of that kind computes, and why others do not."""

import inspect
import sys

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

AFFINES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
# timm's: batch norms with what they apply after it, and affine maps that pad or cast their input first.
TIMMS = {
    "timm.layers.norm_act": ("BatchNormAct2d", "SyncBatchNormAct"),
    "timm.layers.conv2d_same": ("Conv2dSame",),
    "timm.layers.linear": ("Linear",),
}
# What a subclass may define without another result of its forward pass.
HARMLESS = {
    *("__new__", "__init__", "__doc__", "__module__", "__qualname__", "__annotations__", "__annotate_func__", "__annotations_cache__"),
    *("__firstlineno__", "__static_attributes__", "__constants__", "__jit_unused_properties__", "__repr__", "extra_repr", "_version"),
    *("reset_parameters", "reset_running_stats", "train", "_load_from_state_dict", "_save_to_state_dict", "__parameters__"),
    *("__getstate__", "__setstate__", "__deepcopy__", "__reduce__", "__slots__", "__dict__", "__weakref__", "__orig_bases__"),
}


def known_class(module: nn.Module, known: tuple[type, ...]) -> type | None:
    """Return the nearest of some classes of torch, or of timm's versions of them, that the module is of."""
    loaded = [vars(sys.modules[name]).get(cls) for name, classes in TIMMS.items() if name in sys.modules for cls in classes]
    known = (*known, *(cls for cls in loaded if isinstance(cls, type) and issubclass(cls, known)))
    return next((cls for cls in type(module).__mro__ if cls in known), None)


def is_followed_by_activation(norm: nn.Module) -> bool:
    """Say whether a batch norm is one of timm's, whose children `drop` and `act` come after it."""
    base = known_class(norm, BATCH_NORMS)
    return base is not None and base not in BATCH_NORMS


def what_differs(module: nn.Module, known: tuple[type, ...]) -> str | None:
    """Say in what the forward pass of a module may differ from that of the class in `known` that it is of; None: in nothing."""
    name = type(module).__name__
    if is_parametrized(module):
        return "it is parametrized (torch.nn.utils.parametrize.remove_parametrizations makes its weights plain)"
    base = known_class(module, known)
    if base is None:
        return f"{name} is not a layer of torch's"
    overridden = overridden_in(module, base)
    if overridden:
        return f"{name} has a {overridden} of its own"
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return "it has hooks (weight_norm, spectral_norm and pruning are some; their remove_... makes its weights plain)"
    computed = [each for each in ("weight", "bias", "running_mean", "running_var") if isinstance(vars(module).get(each), Tensor)]
    return f"its {computed[0]} is computed elsewhere" if computed else None


def overridden_in(module: nn.Module, base: type) -> str | None:
    """Name what the classes before `base`, or the instance, define in place of an attribute that `base` or its instances have."""
    classes = type(module).__mro__[: type(module).__mro__.index(base)]
    data = {*vars(module), *module._parameters, *module._buffers, *(name for cls in base.__mro__ for name in inspect.get_annotations(cls))}
    own = {name: cls for cls in reversed(classes) for name in vars(cls) if name not in HARMLESS}
    on_instance = {name for name in vars(module) if callable(getattr(base, name, None)) and name not in HARMLESS}
    return next((name for name in [*own, *sorted(on_instance)] if name in on_instance or hasattr(base, name) or name in data), None)
