"""Is a file on disk always the old one or the new one, whole?"""

import errno
import json
import math
import os
import stat

import pytest

from bn_repro.records import files


def test_content_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    files.write_atomically(path, b"one")
    files.write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["a.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=["disk_full", "ctrl_c"])
def test_a_failure_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch, call, error):
    path = tmp_path / "a.json"
    files.write_atomically(path, b"old")

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.json"]


def test_content_is_forced_to_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args)))
    files.write_atomically(tmp_path / "a", b"x")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, and the folder that holds the name


def test_json_has_no_nan():
    nested = {"a": math.nan, "b": [1.5, math.inf, {"c": (-math.inf, True, None, "nan", 3)}], "é": 1}
    content = files.as_json(nested)
    assert json.loads(content) == {"a": None, "b": [1.5, None, {"c": [None, True, None, "nan", 3]}], "é": 1}
    assert content.endswith(b"}\n") and "é".encode() in content and json.dumps(nested["a"]) == "NaN"  # the argument is untouched


def test_floats_come_back_to_the_last_bit():
    numbers = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308]
    assert json.loads(files.as_json(numbers)) == numbers
