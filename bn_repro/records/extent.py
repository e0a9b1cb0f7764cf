"""How much of a record belongs to a checkpoint or a summary: rows and activation records counted, and a digest of their content."""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from bn_repro.records import files
from bn_repro.records.damage import Damaged

RECORD = "record"  # what a summary and a checkpoint call it
CLOCK = ("seconds", "steps_per_second", "peak_memory_mb", "seconds_by_part")  # of a summary: what equal runs do not share
EXTENT_FIELDS = {"config": str, "rows": int, "rows_sha256": str, "activation_records": int, "activations_sha256": str}  # of a checkpoint
CHECKSUM_LENGTH = 16  # hexadecimal digits
# Knobs that say where and how fast, not what: equal runs may differ in them.
PLACES = re.compile(r"results_folder|name|threads|data\.(folder|workers|evaluate_batch)|train\.checkpoint_every|wandb\..*")
DIGESTED = (files.ACTIVATIONS, files.CORRECT, files.PREDICTIONS, files.WEIGHTS, files.VOCABULARY, files.FEATURES)  # beside the rows


class Extent:
    """Count rows and activation records as they are written, in order."""

    def __init__(self) -> None:
        self.rows, self.activation_records = 0, 0
        self._rows, self._activations = hashlib.sha256(), hashlib.sha256()

    def add_row(self, line: bytes) -> None:
        self.rows += 1
        self._rows.update(line)

    def add_activations(self, arrays: dict[str, np.ndarray]) -> None:
        self.activation_records += 1
        for name, array in arrays.items():
            array = np.asarray(array)
            self._activations.update(f"{name},{array.dtype.str},{array.shape}".encode())
            self._activations.update(array.tobytes())

    @property
    def digest_of_rows(self) -> str:
        """Return the checksum of the metrics that hold these rows and no other."""
        return self._rows.hexdigest()[:CHECKSUM_LENGTH]

    def as_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: counts, and digests that do not depend on how records are packed."""
        return {
            "rows": self.rows,
            "rows_sha256": self._rows.hexdigest(),
            "activation_records": self.activation_records,
            "activations_sha256": self._activations.hexdigest(),
        }

    def check(self, counted: dict[str, Any], metrics: Path, activations: Path) -> None:
        """Compare what was found with what was counted.

        Raises:
            Damaged: the file that has less, or other content.
        """
        found = self.as_plain()
        for path, count, digest in ((metrics, "rows", "rows_sha256"), (activations, "activation_records", "activations_sha256")):
            if found[count] != counted[count]:
                raise Damaged(path, f"it has {found[count]} of {counted[count]} {count.replace('_', ' ')}")
            if found[digest] != counted[digest]:
                raise Damaged(path, f"its {count.replace('_', ' ')} are not those that were written")


def digest_of_config(config: dict[str, Any]) -> str:
    """Return the digest of a flat config, but for its places."""
    kept = {name: value for name, value in sorted(config.items()) if not PLACES.fullmatch(name)}
    return checksum(files.as_json(kept))


def digest_of_summary(summary: dict[str, Any]) -> str:
    """Return the digest of a summary's content, but for clock and memory, and for the digest itself."""
    digests = {name: digest for name, digest in summary[RECORD]["sha256"].items() if name != files.SUMMARY}
    kept = {name: value for name, value in summary.items() if name not in CLOCK}
    kept[RECORD] = summary[RECORD] | {"sha256": digests}
    return checksum(files.as_json(dict(sorted(kept.items()))))


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:CHECKSUM_LENGTH]
