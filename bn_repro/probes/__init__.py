"""What happens inside any network while it trains, measured without disturbing it."""

from bn_repro.probes.activations import ActivationProbe, Site, sites_around
from bn_repro.probes.gradient_shift import gradient_shift
from bn_repro.probes.identities import folding_error, scale_invariance_errors
from bn_repro.probes.jacobian import layer_jacobians
from bn_repro.probes.landscape import landscape_along_gradient
from bn_repro.probes.magnitudes import magnitudes
from bn_repro.probes.recorder import ActivationRecorder
from bn_repro.probes.step_cost import step_cost
from bn_repro.probes.undisturbed import undisturbed

__all__ = [
    "ActivationProbe",
    "ActivationRecorder",
    "Site",
    "folding_error",
    "gradient_shift",
    "landscape_along_gradient",
    "layer_jacobians",
    "magnitudes",
    "scale_invariance_errors",
    "sites_around",
    "step_cost",
    "undisturbed",
]
