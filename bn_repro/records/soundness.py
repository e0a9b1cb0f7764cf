"""Is a finished run's folder still what the run wrote? Every reader of finished runs asks this first."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from bn_repro.records import archive, files
from bn_repro.records.cadence import steps_of_activations, steps_of_rows
from bn_repro.records.damage import Damaged
from bn_repro.records.extent import RECORD, checksum, digest_of_config
from bn_repro.records.reading import (
    ENVIRONMENT_FIELDS,
    read_activations,
    read_bits,
    read_environment,
    read_flat_config,
    read_predictions,
    read_rows,
    read_summary,
)

FOR_USE = (files.WEIGHTS, files.VOCABULARY, files.FEATURES)  # no number of a report is read from them, and they are not published
CHECKED = (files.CONFIG, files.ENVIRONMENT, files.METRICS, files.ACTIVATIONS, files.CORRECT, files.PREDICTIONS, *FOR_USE, files.SUMMARY)
LAST_KNOB = "wandb.folder"  # of the file: without it the end is missing


def check_finished(folder: Path) -> None:
    """Read a finished run's files; what was read once is not read again until a file changes.

    Raises:
        Missing: a file is not there, the summary or another.
        Damaged: the first file that is not as it was written.
    """
    damage = _damage(folder, state_of_record(folder))
    if damage:
        raise type(damage)(*damage.args)


def state_of_record(folder: Path) -> tuple[Any, ...]:
    """Return what is another where a file of a run has been written anew."""
    return archive.state_of_folder(folder, CHECKED)


@lru_cache(maxsize=4096)
def _damage(folder: Path, state: tuple[Any, ...]) -> Damaged | None:
    try:
        summary = read_summary(folder / files.SUMMARY)
        if RECORD in summary:
            check_written(folder, summary[RECORD])
        else:
            check_cadence(folder, summary)
    except Damaged as damage:
        return damage
    return None


def check_written(folder: Path, record: dict[str, Any]) -> None:
    """Compare files with the digests that the summary keeps; what describes the machine has none."""
    for name, digest in record["sha256"].items():
        if name in CHECKED and name != files.SUMMARY and (name not in FOR_USE or archive.exists(folder / name)):
            if checksum(archive.read(folder / name)) != digest:
                raise Damaged(folder / name, f"its content is not what {files.SUMMARY} knows")
    if record["config"]:
        check_config(folder / files.CONFIG, record["config"])
        read_environment(folder / files.ENVIRONMENT, ENVIRONMENT_FIELDS)


def check_config(path: Path, digest: str | None = None) -> dict[str, Any]:
    """Return a flat config that is as it was written or, where no digest is known, has what it needs and its last knob."""
    config = read_flat_config(path)
    missing = {"train.steps", "train.eval_every", "probe.every", LAST_KNOB} - config.keys()
    if digest is None and missing:
        raise Damaged(path, f"it has no {min(missing)}")
    if digest is not None and digest != digest_of_config(config):
        raise Damaged(path, "its knobs are not those that were written")
    return config


def check_cadence(folder: Path, summary: dict[str, Any]) -> None:
    """Check a record that has no digests by the rows and activation records that its config asks for."""
    config = check_config(folder / files.CONFIG)
    read_environment(folder / files.ENVIRONMENT, ENVIRONMENT_FIELDS)
    check_steps(folder / files.METRICS, [row["step"] for row in read_rows(folder / files.METRICS)], steps_of_rows(config, summary["steps"]))
    if config["probe.every"]:
        steps = read_activations(folder / files.ACTIVATIONS)["step"].tolist()
        check_steps(folder / files.ACTIVATIONS, steps, steps_of_activations(config, summary["steps"]))
    if "num_test_images" in summary:
        read_bits(folder / files.CORRECT, summary["num_test_images"])
        if config.get("data.kept_predictions") is not None:
            read_predictions(folder / files.PREDICTIONS, config["data.kept_predictions"])


def check_steps(path: Path, found: list[int], expected: list[int]) -> None:
    if found != expected:
        gone = sorted(set(expected) - set(found))
        reason = f"{len(gone)} of {len(expected)} steps are missing, the first is {gone[0]}" if gone else f"step {found[-1]} is too many"
        raise Damaged(path, reason)
