"""What one run is, by its kind."""

from collections.abc import Callable
from typing import Any

from bn_repro.config import RunConfig
from bn_repro.experiments import bag_of_words, evolution, supervised
from bn_repro.experiments.run import Report

KINDS = {"bag_of_words": bag_of_words, "evolution": evolution, "supervised": supervised}


def run(config: RunConfig, report: Report = lambda *_: None, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Do one run of any kind; see `carry_out`."""
    return KINDS[config.kind].run(config, report, is_stopping)
