"""Is a file read as it was written, or named as damaged in one line, without waiting and without filling the memory?"""

import json
import resource
import shutil

import pytest
from damages import A_JSON, ANY_FILE, HUGE, truncated
from made_up_records import MadeUp, percentiles_moving, write

from bn_repro.records import archive, files
from bn_repro.records.cadence import extra_rows, steps_of_activations, steps_of_rows
from bn_repro.records.damage import Damaged, Missing, read_whole
from bn_repro.records.reading import plain_yaml, read_claims, read_claims_or_warn, rows_in
from bn_repro.records.record import archive_of, damage_in, find_run, find_runs

ROW = {"id": "a", "n": 3, "verdict": "PARTLY", "estimate": 1.5, "low": None, "high": 2}


@pytest.fixture
def root(tmp_path):
    """Return a root of archives: one of an experiment with two runs, one of another with one."""
    for address in ("e/quick/none-s0", "e/quick/none-s1", "other/quick/none-s0"):
        write(tmp_path / "folders", address, MadeUp([0.1, 0.5], percentiles_moving(1, rows=2)))
    for experiment in ("e", "other"):
        paths = [path for path in (tmp_path / "folders" / experiment).rglob("*") if path.is_file() and path.name != files.LOCK]
        content = {path.relative_to(tmp_path / "folders").as_posix(): path.read_bytes() for path in paths}
        files.write_atomically(archive_of(tmp_path / "archives", experiment), archive.archived(content))
    return tmp_path / "archives"


def test_nothing_large_is_read(tmp_path):
    path = tmp_path / files.SUMMARY
    path.write_bytes(b"{}")
    assert read_whole(path) == b"{}"
    with open(path, "r+b") as file:
        file.truncate(HUGE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Damaged, match=r"summary.json is damaged \(it has 3,221,225,472 bytes, where at most 1,048,576 can be\)"):
        read_whole(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # kB
    with pytest.raises(Missing):
        read_whole(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", [name for name in ANY_FILE if name not in ("absent", "a_link_to_nothing")])
def test_a_damaged_archive_is_named_and_costs_no_other(root, damage):
    ANY_FILE[damage](archive_of(root, "e"))
    assert len(find_runs(root, "other", "quick")) == 1
    found = damage_in(root, "quick")
    assert len(found) == 1 and "e.tar.xz" in str(found[0])
    assert find_runs(root, "e", "quick") == []


@pytest.mark.parametrize("part", range(10))
def test_a_flipped_bit_anywhere_in_an_archive_is_found(root, part):
    path = archive_of(root, "e")
    content = bytearray(path.read_bytes())
    content[len(content) * part // 10 + 5] ^= 4
    path.write_bytes(content)
    (damage,) = damage_in(root, "quick")
    assert damage.path == path and find_runs(root, "e", "quick") == []


def test_a_published_file_of_too_few_rows_is_found(tmp_path, root):
    """As when someone packs an archive anew."""
    path = archive_of(root, "e")
    content = {inside.relative_to(path).as_posix(): archive.read(inside) for inside in archive.files_in(path)}
    name = f"e/quick/none-s1/{files.METRICS}"
    content[name] = content[name].splitlines(keepends=True)[0]
    files.write_atomically(path, archive.archived(content))
    (damage,) = damage_in(root, "quick")
    assert str(damage) == f"{path}/{name} is damaged (its content is not what {files.SUMMARY} knows); delete it or the folder"
    assert find_run(root, "e/quick/none-s1").damage.path == path / name


def test_a_cut_archive_is_none(root):
    path = archive_of(root, "e")
    content = path.read_bytes()
    for changed in (content[:100], content[: len(content) // 2], content[:-1], content + b"more", content + content):
        path.write_bytes(changed)
        assert [damage.path for damage in damage_in(root, "quick")] == [path] and find_runs(root, "e", "quick") == []


def test_an_archive_that_would_fill_the_memory_is_refused(root, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 5_000)
    (damage,) = damage_in(root, "quick")[:1]
    assert "it unpacks to more than 5,000 bytes" in str(damage)


def test_names_that_lead_out_of_an_archive_are_no_files_of_runs(tmp_path):
    path = tmp_path / "e.tar.xz"
    path.write_bytes(archive.archived({name: b"x" for name in ("../../a/b", "a/../b/c", "/a/b/c", "a/b", "e/quick/s/config.yaml")}))
    assert archive.files_in(path) == [path / "e/quick/s/config.yaml"]


@pytest.mark.parametrize("damage", ANY_FILE | A_JSON)
def test_damaged_claims_are_none(tmp_path, capsys, damage):
    path = tmp_path / files.CLAIMS
    path.write_bytes(files.as_json([ROW]))
    assert read_claims(path) == read_claims_or_warn(path) == {"a": ROW}
    (ANY_FILE | A_JSON)[damage](path)
    assert read_claims_or_warn(path) == {} or damage == "one_bit"  # of a number, which nothing but its type speaks for
    said = capsys.readouterr().err.splitlines()
    is_fine = damage in ("absent", "a_link_to_nothing", "[]")  # none are published
    assert len(said) == (not is_fine) or damage == "one_bit"


@pytest.mark.parametrize("change", [{"id": 3}, {"n": "3"}, {"n": True}, {"estimate": "1.5"}, {"high": [2]}])
def test_claims_of_other_types_are_refused(tmp_path, change):
    path = tmp_path / files.CLAIMS
    path.write_text(json.dumps([ROW | change]))
    with pytest.raises(Damaged, match=next(iter(change))):
        read_claims(path)


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"step": 0}\n{"loss": 1}\n', "line 2: it has no step"),
        ('{"step": 1}\n{"step": 1}\n', "line 2: step 1 stands after step 1"),
        ('{"step": 2}\n{"step": 1}\n', "line 2: step 1 stands after step 2"),
        ('{"step": -1}\n', "line 1: step -1 stands after step 0"),
        ('{"step": true}\n', "line 1: step is 'True'"),
        ('{"step": 0}\n\0\0\0\n', "line 2: Expecting value"),
        ("[]\n", "line 1: it holds a list in place of names and values"),
    ],
)
def test_what_is_wrong_with_a_row(text, reason):
    with pytest.raises(ValueError) as raised:
        rows_in(text.encode())
    assert str(raised.value).startswith(reason)


def test_yaml_nested_without_end_is_refused():
    """By an error; the loader in C would end the process."""
    assert plain_yaml("a: {b: [1, -2.5, '*', null]}\nc: 1.0e-05\n") == {"a": {"b": [1, -2.5, "*", None]}, "c": 1e-5}
    for text in ("- " * 50_000, "[" * 5_000, "? " * 5_000, "a: &a [1]\nb: *a\n"):
        with pytest.raises((RecursionError, ValueError)):
            plain_yaml(text)


def test_cadences_by_hand():
    config = {"train.steps": 25, "train.eval_every": 10, "probe.every": 20}
    assert steps_of_rows(config, 25) == [0, 10, 20, 25] and steps_of_rows(config, 10) == [0, 10] and steps_of_rows(config, 9) == [0]
    assert steps_of_activations(config, 25) == [0, 20, 25] and steps_of_activations(config, 20) == [0, 20]
    assert steps_of_activations(config | {"probe.every": 0}, 25) == []
    spaced = config | {"train.row_spacing": 0.5}
    assert steps_of_rows(spaced | {"train.first_spaced_row": 12}, 25) == [0, 10, 12, 18, 20, 25]
    assert extra_rows(10, 0.5, 10) == {10, 15} and extra_rows(10, 0.5, 12) == {12, 18} and steps_of_rows(spaced, 25) == [0, 10, 15, 20, 25]


def test_runs_in_folders_and_archives_are_checked_once_until_they_change(root, monkeypatch):
    from bn_repro.records import soundness

    reads = []
    real = soundness.check_written
    monkeypatch.setattr(soundness, "check_written", lambda *arguments: (reads.append(arguments[0].name), real(*arguments)))
    for _ in range(3):
        find_runs(root, "e", "quick")
    assert reads == ["none-s0", "none-s1"]
    folder = root.parent / "folders" / "e" / "quick" / "none-s0"
    assert damage_in(root.parent / "folders", "quick") == []
    truncated(folder / files.METRICS)
    assert [damage.path for damage in damage_in(root.parent / "folders", "quick")] == [folder / files.METRICS]
    shutil.rmtree(folder)
    assert damage_in(root.parent / "folders", "quick") == []
