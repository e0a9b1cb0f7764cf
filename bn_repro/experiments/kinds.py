"""What one run is, by its kind."""

from collections.abc import Callable
from typing import Any

from bn_repro.config import Config
from bn_repro.experiments import bag_of_words, supervised


def run(config: Config, report: supervised.Report = lambda *_: None, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Do one run of any kind; see `supervised.run`."""
    kind = bag_of_words if config.network.name == "bag_of_words" else supervised
    return kind.run(config, report, is_stopping)
