"""How a run's folder is written by one process at a time, and begun again where a checkpoint left off."""

import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml

from bn_repro.records import archive, files
from bn_repro.records.cadence import steps_of_activations, steps_of_rows
from bn_repro.records.damage import Damaged, read_whole
from bn_repro.records.extent import DIGESTED, RECORD, Extent, checksum, digest_of_config, digest_of_summary
from bn_repro.records.lock import Lock, sweep
from bn_repro.records.packing import packed
from bn_repro.records.reading import ENVIRONMENT_FIELDS, flatten, read_activations, read_environment, read_flat_config, read_rows
from bn_repro.records.soundness import check_config, check_steps


class RunWriter:
    """Write one run's folder; a row is on disk when `append` returns, a summary means complete.

    Args:
        folder: the run's address under the results folder.

    Raises:
        RunBusy: another process writes it.
        Damaged: something else stands where a file of the run belongs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.activation_rows: list[dict[str, np.ndarray]] = []
        self._extent, self._config_digest = Extent(), ""  # of a run that has begun
        self._metrics: BinaryIO | None = None
        self._lock = Lock(folder)
        sweep(folder, is_finished=False)

    def close(self) -> None:
        self._close_metrics()
        self._lock.close()

    def begin(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Write what was asked for and on what machine, before the first step."""
        self._config_digest = digest_of_config(flatten(config))
        files.write_atomically(self.folder / files.CONFIG, yaml.safe_dump(config, sort_keys=False).encode())
        files.write_atomically(self.folder / files.ENVIRONMENT, files.as_json(environment))

    def go_on(self, environment: dict[str, Any]) -> None:
        """Take up what `begin` once wrote; where the description of the machine is gone, this one's stands in.

        Raises:
            Damaged: it cannot be read.
        """
        self._config_digest = digest_of_config(read_flat_config(self.folder / files.CONFIG))
        if not (self.folder / files.ENVIRONMENT).exists():
            files.write_atomically(self.folder / files.ENVIRONMENT, files.as_json(environment))
        read_environment(self.folder / files.ENVIRONMENT, ENVIRONMENT_FIELDS)

    def append(self, row: dict[str, Any]) -> None:
        """Append one object to the metrics."""
        if self._metrics is None:
            self._metrics = open(self.folder / files.METRICS, "ab")
        line = (json.dumps(files.without_nan(row)) + "\n").encode()
        self._metrics.write(line)
        self._metrics.flush()
        self._extent.add_row(line)

    def append_activations(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep one activation record, which reaches the disk with the next `sync`."""
        self._keep_activations({"step": np.asarray(step), **arrays})

    def extent(self) -> dict[str, Any]:
        """Return how much there is of the record, for a checkpoint; all of it is on the disk after `sync`."""
        return self._extent.as_plain() | {"config": self._config_digest}

    def sync(self) -> None:
        """Force all rows so far to the disk; called before a checkpoint, so that none is ahead of its rows."""
        if self._metrics:
            os.fsync(self._metrics.fileno())
        if self.activation_rows:
            names = self.activation_rows[0]
            stacked = {name: np.stack([row[name] for row in self.activation_rows]) for name in names}
            files.write_atomically(self.folder / files.ACTIVATIONS, packed(stacked))

    def disagreement(self, extent: dict[str, Any] | None, step: int) -> Damaged | None:
        """Return what of the record is not as a checkpoint of a step counts it; one without an extent is judged by the config."""
        metrics, activations = self.folder / files.METRICS, self.folder / files.ACTIVATIONS
        try:
            config = check_config(self.folder / files.CONFIG, extent["config"] if extent else None)
            if extent is None:
                check_steps(metrics, [row["step"] for row in read_rows(metrics) if row["step"] < step], steps_of_rows(config, step - 1))
                expected = steps_of_activations(config, step - 1)
                found = read_activations(activations)["step"] if expected else np.zeros(0)
                check_steps(activations, found[found < step].tolist(), expected)
                return None
            kept = Extent()
            for line in whole_lines(archive.read(metrics))[: extent["rows"]]:
                kept.add_row(line)
            if extent["activation_records"]:
                for arrays in records_in(read_activations(activations))[: extent["activation_records"]]:
                    kept.add_activations(arrays)
            kept.check(extent, metrics, activations)
        except Damaged as damage:
            return damage
        return None

    def rewind(self, step: int, extent: dict[str, Any] | None = None) -> None:
        """Forget every row of `step` and later, a row cut short by a kill, and all that a checkpoint's extent does not count."""
        self._close_metrics()
        self._extent, self.activation_rows = Extent(), []
        metrics, activations = self.folder / files.METRICS, self.folder / files.ACTIVATIONS
        num_rows, num_records = (extent["rows"], extent["activation_records"]) if extent else (None, None)
        kept = []
        for line in whole_lines(read_whole(metrics))[:num_rows] if step and metrics.exists() else []:
            if json.loads(line)["step"] >= step:
                break
            kept.append(line)
            self._extent.add_row(line)
        files.write_atomically(metrics, b"".join(kept))
        if step and activations.exists():
            for arrays in records_in(read_activations(activations))[:num_records]:
                if arrays["step"] < step:
                    self._keep_activations(arrays)
        else:
            activations.unlink(missing_ok=True)

    def keep_correct(self, is_correct: np.ndarray) -> None:
        """Keep which test images the trained network is right on, a bit each."""
        file = io.BytesIO()
        np.save(file, np.packbits(is_correct))
        files.write_atomically(self.folder / files.CORRECT, file.getvalue())

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the summary, whose presence means that the run is complete; its checkpoints are of no more use."""
        self.sync()
        digests = {name: checksum((self.folder / name).read_bytes()) for name in DIGESTED if (self.folder / name).exists()}
        if self._extent.rows:  # of the rows that were written, whatever became of the file since
            digests[files.METRICS] = self._extent.digest_of_rows
        counts = {"rows": self._extent.rows, "activation_records": self._extent.activation_records}
        whole = summary | {RECORD: {"config": self._config_digest, **counts, "sha256": digests}}
        digests[files.SUMMARY] = digest_of_summary(whole)
        files.write_atomically(self.folder / files.SUMMARY, files.as_json(whole))
        sweep(self.folder, is_finished=True)

    def _keep_activations(self, arrays: dict[str, np.ndarray]) -> None:
        self.activation_rows.append(arrays)
        self._extent.add_activations(arrays)

    def _close_metrics(self) -> None:
        if self._metrics:
            self._metrics.close()
        self._metrics = None


class SilentWriter:
    """Stand for the writer in processes that do not write the run they take part in."""

    def __init__(self, folder: Path):
        self.folder = folder

    def ignore(self, *_: Any) -> None:
        pass

    begin = go_on = append = append_activations = keep_correct = sync = rewind = finish = close = ignore


def whole_lines(content: bytes) -> list[bytes]:
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def records_in(arrays: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Return activation records one by one, from arrays that hold a row of each."""
    return [{name: array[row] for name, array in arrays.items()} for row in range(len(arrays["step"]))]
