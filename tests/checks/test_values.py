"""Are types strict, folders checked without being made, and long lists of choices cut to the nearest?"""

import os

import pytest

from bn_repro.checks.values import check_folder, check_text, check_type, shown, told

RIGHT = (
    (bool, True), (int, 5), (float, 5), (float, 0.5), (str, "a"), (str, 5), (list[float], [15, 50.0]), (int | None, None),
    (str | None, "a"),
)  # fmt: skip
WRONG = (
    (bool, 2), (bool, "yes"), (int, True), (int, 1.0), (int, "5"), (int, None), (float, "0.5"), (float, True), (float, 10**400),
    (str, None), (str, True), (str, ["a"]), (list[float], 50), (list[float], [[50]]), (list[float], ["a"]), (int | None, "5"),
)  # fmt: skip


@pytest.mark.parametrize("kind, value", RIGHT)
def test_values_of_the_right_type(kind, value):
    check_type("x", value, kind)


@pytest.mark.parametrize("kind, value", WRONG, ids=str)
def test_values_of_another_type(kind, value):
    with pytest.raises(ValueError, match="^x="):
        check_type("x", value, kind)


def test_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to(tmp_path)
    for right in ("new", "new/deeper", str(tmp_path), ".", "link/new", "a b", "x" * 255):
        check_folder("f", right)
    for wrong in ("file", "file/below", "circle/x", "x" * 256, "", "  ", "~/x", "a\nb", "/proc/x", "/dev/null"):
        with pytest.raises(ValueError, match="^f"):
            check_folder("f", wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "file", "link"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folders_that_cannot_be_written_may_be_read(tmp_path):
    tmp_path.chmod(0o500)
    check_folder("f", str(tmp_path), is_written=False)
    with pytest.raises(ValueError, match="cannot be written to"):
        check_folder("f", str(tmp_path))


def test_text_that_is_none():
    check_text("t", "bn-repro")
    for wrong in ("", " ", "a\tb", "\u200b"):
        with pytest.raises(ValueError, match="^t"):
            check_text("t", wrong)


def test_choices_are_told_whole_or_the_nearest():
    assert told("b", ["a", "b", "c"]) == "choices: a, b, c"
    many = [f"experiment_{number:02}" for number in range(20)]
    line = told("experiment_7", many)
    assert line.endswith(" and 17 more") and "experiment_07" in line and line.count(",") == 2


def test_what_was_typed_fits_into_a_line():
    assert (shown("a"), shown(True), shown(None), shown(""), shown("a\nb")) == ("a", "true", "null", "''", "'a\\nb'")
    assert len(shown("x" * 5000)) == 63
