"""How hundreds of small arrays become one small file: equal measures of all sites as one, bytes of equal significance together."""

import io
import math
import zipfile

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

NAMES, GROUPS = "names", "groups"  # of all arrays, in their order: what they are called, and which group each is in
MAX_UNPACKED = 4 * 2**30  # bytes


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


def unpacked(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays that `packed` encoded, in their order, or those of an npz that has each by itself, as older records do.

    Raises:
        Exception: of one kind or another, where the bytes are not such a file; never is more kept than `MAX_UNPACKED`.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as stored:
        size = sum(entry.file_size for entry in stored.infolist())
        if size > MAX_UNPACKED:
            raise ValueError(f"it unpacks to {size:,} bytes, where at most {MAX_UNPACKED:,} can be")
        arrays = {entry.filename.removesuffix(".npy"): array_in(stored.read(entry)) for entry in stored.infolist()}
    if GROUPS not in arrays:
        return arrays
    names, group_of = arrays.pop(NAMES).tolist(), arrays.pop(GROUPS).tolist()
    groups = {}
    for group, planes in arrays.items():
        number, dtype, *shape = group.split(",")
        items = np.frombuffer(bytearray(planes.T.tobytes()), dtype)
        groups[int(number)] = iter(items.reshape(group_of.count(int(number)), *map(int, shape)))
    return {name: next(groups[number]) for name, number in zip(names, group_of, strict=True)}


def array_in(content: bytes) -> np.ndarray:
    """Return the array of an npy file, whose header is believed only where the bytes that follow are as many.

    Raises:
        ValueError: they are not, or it holds Python objects.
    """
    stream = io.BytesIO(content)
    read_header = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}[read_magic(stream)]
    shape, is_fortran, dtype = read_header(stream)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or size != len(content) - stream.tell():
        raise ValueError(f"an array of {size:,} bytes is promised and {len(content) - stream.tell():,} follow")
    items = np.frombuffer(bytearray(content[stream.tell() :]), dtype)
    return items.reshape(shape, order="F" if is_fortran else "C")
