"""How hundreds of small arrays become one small file: equal measures of all sites as one, bytes of equal significance together."""

import io
import zipfile
from pathlib import Path

import numpy as np

NAMES, GROUPS = "names", "groups"  # of all arrays, in their order: what they are called, and which group each is in


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """Encode arrays `{"<site>/<measure>": array}` as an npz, without loss.

    Arrays of one measure, shape and type are a group, `<number>,<type>,<shape>`: bytes (item size, items), the first bytes
    of all items, then the second, and so on, which compress far better than item after item.
    """
    groups: dict[tuple, list[np.ndarray]] = {}
    kinds = [(name.rpartition("/")[2], array.shape, array.dtype.str) for name, array in arrays.items()]
    for kind, array in zip(kinds, arrays.values()):
        groups.setdefault(kind, []).append(array)
    numbers = {kind: number for number, kind in enumerate(groups)}
    content = {NAMES: np.array(list(arrays), str), GROUPS: np.array([numbers[kind] for kind in kinds], int)}
    for (_, shape, dtype), alike in groups.items():
        values = np.stack(alike)
        planes = np.frombuffer(values.tobytes(), np.uint8).reshape(values.size, values.itemsize).T
        content[",".join(map(str, (len(content) - 2, dtype, *shape)))] = np.ascontiguousarray(planes)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in content.items():
            written = io.BytesIO()
            np.save(written, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), written.getvalue(), zipfile.ZIP_LZMA)  # numpy itself only deflates
    return buffer.getvalue()


def unpacked(file: Path | io.BytesIO) -> dict[str, np.ndarray]:
    """Return the arrays of a file that `packed` made, in their order, or of one that has each by itself, as older records do."""
    with np.load(file) as stored:
        content = {name: stored[name] for name in stored.files}
    if GROUPS not in content:
        return content
    names, group_of = content.pop(NAMES).tolist(), content.pop(GROUPS).tolist()
    groups = {}
    for group, planes in content.items():
        number, dtype, *shape = group.split(",")
        items = np.frombuffer(bytearray(planes.T.tobytes()), dtype)
        groups[int(number)] = iter(items.reshape(group_of.count(int(number)), *map(int, shape)))
    return {name: next(groups[number]) for name, number in zip(names, group_of)}
