"""How timm learns of our Inceptions: when it is imported, not before, since that takes seconds which most runs need not spend."""

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

TIMM = "timm"
REGISTERED = "bn_repro.networks.inception_timm"


class AfterTimm(MetaPathFinder):
    """Let timm be found as it always is, and register with it once it is imported."""

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != TIMM:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                importlib.import_module(REGISTERED)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def register_with_timm() -> None:
    """Make `timm.create_model("bn_inception")` work, now if timm is imported, else as soon as it is."""
    if TIMM in sys.modules:
        importlib.import_module(REGISTERED)
    elif not any(isinstance(finder, AfterTimm) for finder in sys.meta_path):
        sys.meta_path.insert(0, AfterTimm())
