"""One reader for each kind of file of a run: it returns what was written, or says in one line that the file is damaged, and why."""

import json
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from bn_repro.records import archive, files
from bn_repro.records.damage import Damaged, Missing
from bn_repro.records.extent import RECORD, digest_of_summary
from bn_repro.records.packing import array_in, unpacked

T = TypeVar("T")
LABELS, SINGLE, CROPS = "labels", "single", "crops"  # of predictions
ROOT_OF_ONE = 255  # probabilities are kept as their square roots, in a byte each: finest where they are small
NUMBER = int | float
MAY_REFER = re.compile(r"\*\S")  # what an alias begins with; a pattern such as .* ends its line
NESTING, MAX_NESTING = "-?[{", 1000  # what can begin a level on the same line
ENVIRONMENT_FIELDS = {
    "python": str, "packages": dict, "commit": str | None, "is_modified": bool, "processor": str, "cores": int | None,
    "accelerator": str | None,
}  # fmt: skip
CLAIM_FIELDS = {"id": str, "n": int, "verdict": str, "estimate": NUMBER | None, "low": NUMBER | None, "high": NUMBER | None}
CLOCK_FIELDS = {"seconds": NUMBER, "steps_per_second": NUMBER, "peak_memory_mb": NUMBER}
RECORD_FIELDS = {"config": str, "rows": int, "activation_records": int, "sha256": dict}
SUMMARY_FIELDS = {
    "status": str, "steps": int, "first_bad_step": int | None, "num_parameters": int, "num_batch_norms": int,
    "accuracy": NUMBER | None, "accuracy_moving_averages": NUMBER | None, **CLOCK_FIELDS,
}  # fmt: skip
FIELDS_OF_FINISHED = {"scale_invariance": dict, "num_folded": int, "folding_error": NUMBER | None}


def read_config(path: Path) -> dict[str, Any]:
    """Return a resolved config, nested."""
    return parsed(path, nested_config)


def read_flat_config(path: Path) -> dict[str, Any]:
    """Return a resolved config, flat: `{"train.lr": 0.5, ...}`; not to be changed, as who asks once more is given the same."""
    return parsed(path, flat_config)


def nested_config(content: bytes) -> dict[str, Any]:
    return as_object(plain_yaml(content.decode()))


@lru_cache(maxsize=8192)  # a run is first checked, then read
def flat_config(content: bytes) -> dict[str, Any]:
    return flatten(nested_config(content))


def plain_yaml(text: str) -> Any:
    """Load YAML without references, with which a small file can stand for an endless one.

    The fast loader, in C, crashes on what is nested thousands deep; the other one raises.
    """
    is_flat = sum(map(text.count, NESTING)) < MAX_NESTING
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if is_flat else yaml.SafeLoader
    if MAY_REFER.search(text) and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, loader)):
        raise ValueError("it refers to parts of itself")
    return yaml.load(text, loader)


def read_environment(path: Path, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what describes a machine, with the fields given."""
    return parsed(path, lambda content: with_fields(json_object(content), fields or {}))


def read_summary(path: Path) -> dict[str, Any]:
    """Return a summary, whole: as it was written, or of a run that did not write down its digest, with every field that it needs."""

    def parse(content: bytes) -> dict[str, Any]:
        summary = json_object(content)
        if RECORD not in summary:
            with_fields(summary, SUMMARY_FIELDS)
            return with_fields(summary, FIELDS_OF_FINISHED if summary["first_bad_step"] is None else {})
        record = with_fields(as_object(summary[RECORD]), RECORD_FIELDS)
        if record["sha256"].get(files.SUMMARY) != digest_of_summary(summary):
            raise ValueError("it has other content than was written")
        return with_fields(summary, {name: kind for name, kind in CLOCK_FIELDS.items() if name in summary})

    return parsed(path, parse)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of whole lines, in order of steps."""
    return parsed(path, rows_in)


def rows_in(content: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            row = with_fields(json_object(line), {"step": int})
        except Exception as error:
            raise ValueError(f"line {number}: {reason_of(error)}") from error
        if row["step"] <= (rows[-1]["step"] if rows else -1):
            raise ValueError(f"line {number}: step {row['step']} stands after step {rows[-1]['step'] if rows else 0}")
        rows.append(row)
    return rows


def read_activations(path: Path) -> dict[str, np.ndarray]:
    """Return `{"step": (R,), "<layer>/<place>/<measure>": (R, ...)}`."""

    def parse(content: bytes) -> dict[str, np.ndarray]:
        arrays = unpacked(content)
        steps = arrays.get("step", np.zeros((0, 0)))
        if steps.ndim != 1 or steps.dtype.kind != "i" or (np.diff(steps) <= 0).any():
            raise ValueError("it has no steps in order")
        if any(array.shape[:1] != steps.shape for array in arrays.values()):
            raise ValueError("its arrays differ in length")
        return arrays

    return parsed(path, parse)


def read_bits(path: Path, num: int) -> np.ndarray:
    """Return (num,) bool of a file that holds a bit each."""

    def parse(content: bytes) -> np.ndarray:
        packed = array_in(content)
        if packed.dtype != np.uint8 or packed.shape != ((num + 7) // 8,):
            raise ValueError(f"it does not hold {num} bits")
        return np.unpackbits(packed, count=num).astype(bool)

    return parsed(path, parse)


def read_predictions(path: Path, num: int) -> dict[str, np.ndarray]:
    """Return labels (num,), and probabilities (num, classes) of the images as they are and, where there are such, of crops."""

    def parse(content: bytes) -> dict[str, np.ndarray]:
        arrays = unpacked(content)
        probabilities = {name: (array / ROOT_OF_ONE) ** 2 for name, array in arrays.items() if name in (SINGLE, CROPS)}
        if LABELS not in arrays or SINGLE not in probabilities:
            raise ValueError(f"it has no {LABELS if LABELS not in arrays else SINGLE}")
        for array in (*probabilities.values(), arrays[LABELS][:, None]):
            if array.ndim != 2 or len(array) != num:
                raise ValueError(f"it does not hold {num} predictions")
        return {LABELS: arrays[LABELS], **probabilities}

    return parsed(path, parse)


def read_claims(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a published report's claims by id."""

    def parse(content: bytes) -> dict[str, dict[str, Any]]:
        rows = json.loads(content.decode())
        if not isinstance(rows, list):
            raise ValueError("it holds no list")
        return {row["id"]: row for row in (with_fields(as_object(row), CLAIM_FIELDS) for row in rows)}

    return parsed(path, parse)


def read_rules(path: Path) -> dict[str, dict[str, Any]]:
    """Return what is written down of each claim's rule, by the claim's id."""

    def parse(content: bytes) -> dict[str, dict[str, Any]]:
        return {id: with_fields(as_object(row), {"commit": str}) for id, row in json_object(content).items()}

    return parsed(path, parse)


def read_claims_or_warn(path: Path) -> dict[str, dict[str, Any]]:
    """Return a published report's claims by id; none if there are none, or with a warning if they are damaged."""
    try:
        return read_claims(path)
    except Missing:
        return {}
    except Damaged as damage:
        print(f"warning: {damage}", file=sys.stderr)
        return {}


def parsed(path: Path, parse: Callable[[bytes], T]) -> T:
    """Parse a file, on the disk or in an archive.

    Raises:
        Damaged: it cannot be read (`Missing`: it is not there), or `parse` raises anything.
    """
    content = archive.read(path)
    try:
        return parse(content)
    except Exception as error:  # parsers and decompressors raise a dozen kinds
        raise Damaged(path, reason_of(error) if content else "it is empty") from error


def reason_of(error: Exception) -> str:
    """Return the first line of what an error says, or its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def json_object(content: bytes) -> dict[str, Any]:
    return as_object(json.loads(content.decode()))


def as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"it holds {'nothing' if value is None else f'a {type(value).__name__}'} in place of names and values")
    return value


def with_fields(found: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object that has the fields given, each of its type."""
    for name, kind in fields.items():
        if name not in found:
            raise ValueError(f"it has no {name}")
        if not isinstance(found[name], kind) or (isinstance(found[name], bool) and kind is not bool):
            raise ValueError(f"{name} is {str(found[name])[:40]!r}")
    return found


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn {"train": {"lr": 1}} into {"train.lr": 1}."""
    flat = {}
    for name, value in nested.items():
        flat.update(flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat
