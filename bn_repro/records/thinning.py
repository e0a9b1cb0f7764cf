"""What of a finished run is published: every file that a report reads, and of its activations what a figure or a claim is made of."""

import json
from pathlib import Path

from bn_repro.records import archive, files
from bn_repro.records.extent import RECORD, checksum, digest_of_summary
from bn_repro.records.packing import packed, unpacked

PUBLISHED = (  # no weights
    *(files.CONFIG, files.ENVIRONMENT, files.METRICS, files.ACTIVATIONS, files.CORRECT, files.PREDICTIONS, files.SUMMARY),
)
UNITS, SHOWN_PLACE = "unit_percentiles", "after_norm"  # Figures 1b and 1c show units of the last layer's
MOST_ROWS = 100  # that a run without probes publishes whole
OF_MORE_ROWS_LEFT_OUT = ("train_loss", "loss", "bias_norm")  # which nothing reads of such runs
LEFT_OUT = ("after_nonlinearity/histogram", "after_nonlinearity/range")  # the largest, and nothing reads them


def published_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a run to publish, by name; of what was thinned the summary knows the new digest, where it knew one."""
    content = {name: archive.read(folder / name) for name in PUBLISHED if archive.exists(folder / name)}
    thinner = {}
    if files.ACTIVATIONS in content:
        thinner[files.ACTIVATIONS] = thinned(content[files.ACTIVATIONS])
    elif files.METRICS in content and content[files.METRICS].count(b"\n") > MOST_ROWS:
        thinner[files.METRICS] = with_fewer_columns(content[files.METRICS])
    content |= thinner
    summary = json.loads(content[files.SUMMARY])
    if thinner and RECORD in summary:
        digests = summary[RECORD]["sha256"]
        digests |= {name: checksum(bytes_) for name, bytes_ in thinner.items()}
        digests[files.SUMMARY] = digest_of_summary(summary)
        content[files.SUMMARY] = files.as_json(summary)
    return content


def with_fewer_columns(metrics: bytes) -> bytes:
    rows = [json.loads(line) for line in metrics.splitlines()]
    kept = [{name: value for name, value in row.items() if name not in OF_MORE_ROWS_LEFT_OUT} for row in rows]
    return b"".join((json.dumps(row) + "\n").encode() for row in kept)


def thinned(activations: bytes) -> bytes:
    """Leave out histograms of outputs and the percentiles of single units, but for the inputs of the last nonlinearity.

    The bytes are the same if nothing is to leave.
    """
    arrays = unpacked(activations)
    of_units = [name for name in arrays if name.endswith(f"/{UNITS}")]
    shown = [name for name in of_units if name.endswith(f"/{SHOWN_PLACE}/{UNITS}")][-1:]
    left_out = {name for name in arrays if name.endswith(LEFT_OUT)} | (set(of_units) - set(shown))
    return packed({name: array for name, array in arrays.items() if name not in left_out}) if left_out else activations
