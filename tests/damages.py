"""What a crash, a disk or a colleague does to files, each as a function of a path that damages what is there."""

import io
import json
import os
import shutil
import zipfile

import numpy as np
import torch
from numpy.lib.format import magic

from bn_repro.records.extent import checksum
from bn_repro.records.packing import packed, unpacked

HUGE = 3 * 2**30  # bytes; sparse, so that they cost nothing until they are read


def replaced_by(content):
    def damage(path):
        path.write_bytes(content)

    return damage


def absent(path):
    path.unlink()


def emptied(path):
    path.write_bytes(b"")


def truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


VERSION = b'"python": "'
COUNT = b'"num_parameters": '


def one_bit(path):
    content = bytearray(path.read_bytes())
    # Of a machine's file and of a summary a digit, so that it stays one that can be read, and the same one each time.
    places = [content.find(before) + len(before) for before in (VERSION, COUNT) if before in content]
    content[places[0] if places else len(content) // 2] ^= 1
    path.write_bytes(content)


def zeroed(path):
    path.write_bytes(b"\0" * path.stat().st_size)


def huge(path):
    os.truncate(path, HUGE)


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_link_to_nothing(path):
    path.unlink()
    path.symlink_to("nowhere")


ANY_FILE = {
    "absent": absent, "emptied": emptied, "truncated": truncated, "one_bit": one_bit, "zeroed": zeroed, "huge": huge, "a_folder": a_folder,
    "a_pipe": a_pipe, "a_link_to_nothing": a_link_to_nothing, "noise": replaced_by(bytes(range(256)) * 4),
}  # fmt: skip
A_JSON = {name: replaced_by(name.encode()) for name in ("{}", "[]", "null", "7", '"text"', "{", "NaN", "[" * 20_000)}
A_YAML = {
    "a_list": replaced_by(b"- 1\n- 2\n"),
    "no_yaml": replaced_by(b"a: [1, {b: 2\n: :"),
    "a_tag": replaced_by(b"!!python/object/apply:os.getcwd []\n"),
    "nuls": replaced_by(b"experiment: a\0b\n"),
    "a_number": replaced_by(b"3\n"),
    "few_knobs": replaced_by(b"experiment: mnist_sigmoid\ntier: smoke\n"),
    "of_itself": replaced_by(b"a: &a [1, 2]\nb: *a\n"),
    "deep": replaced_by(b"[" * 20_000),
}


def fewer_rows(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))


def without_a_row(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


def row_twice(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines))


def another_number(path):
    path.write_bytes(path.read_bytes().replace(b'"loss": 2.', b'"loss": 1.'))


def without_a_step(path):
    path.write_bytes(path.read_bytes().replace(b'"step"', b'"steq"', 1))


ROWS = {
    "fewer_rows": fewer_rows, "without_a_row": without_a_row, "row_twice": row_twice, "another_number": another_number,
    "without_a_step": without_a_step, "a_list": replaced_by(b"[1, 2]\n"),
}  # fmt: skip


def one_record(path):
    """Keep the first of all records, in a file that is whole."""
    path.write_bytes(packed({name: array[:1] for name, array in unpacked(path.read_bytes()).items()}))


def petabytes(path):
    """Promise an array of petabytes."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }".ljust(117).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("step.npy", magic(1, 0) + len(header).to_bytes(2, "little") + header)


def objects(path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("step.npy", buffer.getvalue())


ARRAYS = {"one_record": one_record, "petabytes": petabytes, "objects": objects}


def whole_file_with(change):
    """Write another state in a checkpoint's place, under a name that says that it is whole."""

    def damage(path):
        state = change(torch.load(path, weights_only=True))
        buffer = io.BytesIO()
        torch.save(state, buffer)
        path.unlink()
        path.with_name(f"{path.name[:14]}-{checksum(buffer.getvalue())}.pt").write_bytes(buffer.getvalue())

    return damage


def first_tensor_cut(state):
    name = next(iter(state["network"]))
    return state | {"network": state["network"] | {name: state["network"][name][:1]}}


STATES = {
    "a_list": whole_file_with(lambda state: [1, 2]),
    "no_keys": whole_file_with(lambda state: {}),
    "without_a_network": whole_file_with(lambda state: {name: value for name, value in state.items() if name != "network"}),
    "other_names": whole_file_with(lambda state: state | {"network": {f"a.{name}": value for name, value in state["network"].items()}}),
    "other_shapes": whole_file_with(first_tensor_cut),
    "another_step": whole_file_with(lambda state: state | {"step": 99}),
    "a_step_in_words": whole_file_with(lambda state: state | {"step": "four"}),
    "no_random_numbers": whole_file_with(lambda state: state | {"rng": torch.zeros(3)}),
    "losses_in_words": whole_file_with(lambda state: state | {"losses": "none"}),
    "another_optimizer": whole_file_with(lambda state: state | {"optimizer": {"param_groups": [], "state": {}}}),
    "rows_in_words": whole_file_with(lambda state: state | {"record": {"rows": "three"}}),
}


def older(folder, summary_name):
    """Make of a finished run one that did not yet write down its digests."""
    path = folder / summary_name
    summary = json.loads(path.read_text())
    del summary["record"]
    path.write_text(json.dumps(summary))


def copied(source, target):
    shutil.copytree(source, target, symlinks=True)
    return target
