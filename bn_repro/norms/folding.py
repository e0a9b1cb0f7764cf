"""How batch norm costs nothing at inference: it folds into the affine layer before it (section 3.1)."""

import copy

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class ModuleTracer(fx.Tracer):
    """Trace down to modules without children, whoever wrote them."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return super().is_leaf_module(module, qualified_name) or not any(module.children())


def foldable_pairs(network: nn.Module) -> list[tuple[str, str]]:
    """List (affine, norm) module names where the norm is the affine layer's only reader and each is called once.

    Raises:
        ValueError: the forward pass cannot be traced by `torch.fx`, so what follows what is unknown.
    """
    try:
        graph = ModuleTracer().trace(network)
    except Exception as error:
        raise ValueError(f"cannot fold {type(network).__name__}: torch.fx cannot trace it ({error})") from error
    modules = dict(network.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    num_calls = {node.target: sum(other.target == node.target for other in calls) for node in calls}
    pairs = []
    for node in calls:
        source = node.args[0] if node.args else None
        if not isinstance(modules[node.target], _BatchNorm) or modules[node.target].running_mean is None:
            continue
        if source not in calls or not isinstance(modules[source.target], (nn.Linear, *CONVOLUTIONS)):
            continue
        if len(source.users) == 1 and num_calls[node.target] == num_calls[source.target] == 1:
            pairs.append((source.target, node.target))
    return pairs


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose every Linear/Conv + batch norm is one affine layer.

    The outputs equal the evaluation-mode network's to rounding. Module names stay: the affine layer holds the
    product, `nn.Identity` stands where the norm was. Norms that follow no affine layer are left as they are.

    Raises:
        ValueError: the network cannot be traced, see `foldable_pairs`.
    """
    folded = copy.deepcopy(network).eval()
    for affine_name, norm_name in foldable_pairs(folded):
        affine, norm = folded.get_submodule(affine_name), folded.get_submodule(norm_name)
        if isinstance(affine, nn.Linear):
            affine = fuse_linear_bn_eval(affine, norm)
        else:
            affine = fuse_conv_bn_eval(affine, norm, transpose=isinstance(affine, _ConvTransposeNd))
        folded.set_submodule(affine_name, affine)
        folded.set_submodule(norm_name, nn.Identity())
    return folded
