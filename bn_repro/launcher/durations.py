"""How long a run will take here: as its published record says, at this machine's speed; else as others of its experiment did here."""

from collections import defaultdict
from collections.abc import Mapping

from bn_repro.config import RunConfig
from bn_repro.records.record import address_of


class Durations:
    """Estimate seconds of runs, the better the more have ended here.

    Args:
        published: seconds of each run by its address, None where no record tells.
    """

    def __init__(self, published: Mapping[str, float | None]):
        self.published = published
        self._here: defaultdict[str, list[float]] = defaultdict(list)  # by experiment
        self._pairs: list[tuple[float, float]] = []  # seconds here, seconds published

    def note(self, config: RunConfig, seconds: float) -> None:
        """Take into account how long a run took, all of which was done here."""
        self._here[config.experiment].append(seconds)
        told = self.published[address_of(config)]
        if told is not None:
            self._pairs.append((seconds, told))

    def of(self, config: RunConfig) -> float | None:
        """Return the seconds that a run will take from its first step; None where nothing tells."""
        told = self.published[address_of(config)]
        if told is not None:
            here, there = (sum(seconds) for seconds in zip(*self._pairs)) if self._pairs else (1.0, 1.0)
            return told * here / there if there else told
        known = self._here.get(config.experiment)
        return sum(known) / len(known) if known else None
