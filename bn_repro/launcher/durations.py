"""How long a run will take here: as its published record says, at this machine's speed; else as others of its experiment did here."""

from collections import defaultdict
from collections.abc import Mapping

from bn_repro.config import RunConfig
from bn_repro.records.record import address_of


class Durations:
    """Estimate seconds of runs, the better the more have ended here.

    Args:
        published: seconds of each run by its address, None where no record says.
    """

    def __init__(self, published: Mapping[str, float | None]):
        self.published = published
        self._ended: defaultdict[str, list[float]] = defaultdict(list)  # seconds here, by experiment
        self._total_here = self._total_published = 0.0  # of runs that have ended here and have a published record

    def note(self, config: RunConfig, seconds: float) -> None:
        """Take into account how long a run took, all of which was done here."""
        self._ended[config.experiment].append(seconds)
        published_seconds = self.published[address_of(config)]
        if published_seconds is not None:
            self._total_here += seconds
            self._total_published += published_seconds

    def of(self, config: RunConfig) -> float | None:
        """Return the seconds that a run will take from its first step; None if neither its record nor its experiment says."""
        published_seconds = self.published[address_of(config)]
        if published_seconds is not None:
            return published_seconds * (self._total_here / self._total_published if self._total_published else 1)
        ended = self._ended.get(config.experiment)
        return sum(ended) / len(ended) if ended else None
