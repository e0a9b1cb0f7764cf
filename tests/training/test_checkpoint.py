"""Does the newest whole checkpoint always come back, and does loading one never run code?"""

import errno
import hashlib
import io
import os
import pickle

import pytest
import torch

from bn_repro.training.checkpoint import load_latest_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def state(step):
    return {
        "step": step,
        "network": {"weight": torch.full((3,), step / 3)},
        "rng": torch.get_rng_state(),
        "losses": torch.empty(0),
        "lrs": [0.1, None],
    }


def names(folder):
    return sorted(path.name[:14] for path in folder.iterdir())


def place(folder, step, content):
    """Write a file that says of itself that it is whole."""
    path = folder / f"step-{step:09d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    return path


def test_round_trip(tmp_path):
    saved = state(7)
    path = save_checkpoint(tmp_path, 7, saved)
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] in path.name
    loaded = load_latest_checkpoint(tmp_path, CPU)
    assert list(loaded) == list(saved) and loaded["step"] == 7 and loaded["lrs"] == [0.1, None]
    assert torch.equal(loaded["network"]["weight"], saved["network"]["weight"]) and torch.equal(loaded["rng"], saved["rng"])


def test_nothing_there(tmp_path):
    assert load_latest_checkpoint(tmp_path / "nowhere", CPU) is None


def test_last_two_are_kept(tmp_path):
    for step in (5, 90, 1000):  # in the order of steps, not of digits
        save_checkpoint(tmp_path, step, state(step))
    assert names(tmp_path) == ["step-000000090", "step-000001000"]
    assert load_latest_checkpoint(tmp_path, CPU)["step"] == 1000


def damage_by_truncation(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_by_emptying(path):
    path.write_bytes(b"")


def damage_by_one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [damage_by_truncation, damage_by_emptying, damage_by_one_bit])
def test_a_damaged_one_falls_back_with_a_warning(tmp_path, capsys, damage):
    save_checkpoint(tmp_path, 1, state(1))
    path = save_checkpoint(tmp_path, 2, state(2))
    damage(path)
    assert load_latest_checkpoint(tmp_path, CPU)["step"] == 1
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1 and str(path) in warnings[0] and "damaged" in warnings[0]


def test_all_damaged_start_again(tmp_path, capsys):
    paths = [save_checkpoint(tmp_path, step, state(step)) for step in (1, 2)]
    for path in paths:
        damage_by_truncation(path)
    assert load_latest_checkpoint(tmp_path, CPU) is None
    (warning,) = capsys.readouterr().err.splitlines()
    assert all(str(path) in warning for path in paths) and warning.endswith("starting again")


class Malicious:
    """Unpickling one makes a folder."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def as_pickle(value):
    return pickle.dumps(value, protocol=2)  # the one that torch writes


def as_torch_file(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("encode", [as_pickle, as_torch_file])
def test_code_is_refused_without_running(tmp_path, encode):
    target = tmp_path / "made"
    content = encode({"step": 3, "network": Malicious(target)})
    path = place(tmp_path, 3, content)
    with pytest.raises(ValueError, match="refused"):
        load_latest_checkpoint(tmp_path, CPU)
    assert not target.exists() and path.exists()
    pickle.loads(pickle.dumps(Malicious(target)))
    assert target.exists()  # so it would have run


def test_other_files_are_no_checkpoints(tmp_path):
    save_checkpoint(tmp_path, 1, state(1))
    (tmp_path / ".step-000000002-0123456789abcdef.pt.half").write_bytes(b"half")
    (tmp_path / "step-2.pt").write_bytes(b"half")
    assert load_latest_checkpoint(tmp_path, CPU)["step"] == 1


def test_a_full_disk_leaves_the_earlier_ones(tmp_path, monkeypatch):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, state(step))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 3, state(3))
    assert names(tmp_path) == ["step-000000001", "step-000000002"]
    assert load_latest_checkpoint(tmp_path, CPU)["step"] == 2


def test_the_same_step_twice_leaves_the_later_writing(tmp_path):
    for content in range(8):  # whatever the order of the checksums
        save_checkpoint(tmp_path, 5, state(5) | {"lrs": [content]})
        assert load_latest_checkpoint(tmp_path, CPU)["lrs"] == [content]


def test_a_damaged_later_one_does_not_count_among_the_two(tmp_path):
    """10 and 20 are written, 20 breaks, the run goes on from 10 and is interrupted at 15: 10 is still the one before."""
    save_checkpoint(tmp_path, 10, state(10))
    damage_by_truncation(save_checkpoint(tmp_path, 20, state(20)))
    newest = save_checkpoint(tmp_path, 15, state(15))
    assert load_latest_checkpoint(tmp_path, CPU)["step"] == 15
    damage_by_truncation(newest)
    assert load_latest_checkpoint(tmp_path, CPU)["step"] == 10
