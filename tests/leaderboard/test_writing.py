"""Files that are written whole, and the one line that says why not."""

import os
from pathlib import Path
from typing import Any

import pytest

from leaderboard.writing import beside, write_whole, writing


def test_whole_in_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"one", b"two"):
        write_whole(path, content)
        assert [file.name for file in path.parent.iterdir()] == ["file"]
        assert path.read_bytes() == content


@pytest.mark.parametrize("below", ["", "below", "far/below"])
def test_file_in_the_place_of_a_folder(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    path = tmp_path / "file" / below / "x"
    with pytest.raises(ValueError, match=f"^{tmp_path}/file.*: cannot be written: (Not a directory|File exists)$"):
        write_whole(path, b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("number", [28, 122])
def test_room_is_named_where_it_is_the_reason(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system names no file, or the temporary one; the line names the one that was to be written."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(source: Any, target: Any) -> None:
        raise OSError(number, os.strerror(number), str(source))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError) as refused:
        write_whole(path, b"new")
    line = str(refused.value)
    assert line.startswith(f"{path}: cannot be written: {os.strerror(number)} (") and "bytes are free" in line
    assert [file.name for file in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"old"


def test_other_reasons_say_nothing_of_room(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as refused, writing(tmp_path):
        raise PermissionError(13, "Permission denied", "/elsewhere")
    assert str(refused.value) == "/elsewhere: cannot be written: Permission denied"


def test_what_a_killed_process_left_goes_later(tmp_path: Path) -> None:
    old = [tmp_path / name for name in (".file.123.tmp", ".file.99999999.new", ".file.1.old")]
    kept = [tmp_path / name for name in (".file.swp", ".file.1.tmp.bak", ".other.123.tmp", ".file.5.tmp")]
    for path in (*old, *kept):
        path.mkdir() if path.suffix == ".new" else path.touch()
        os.utime(path, (0, 0))
    os.utime(kept[-1])  # somebody may be at it
    beside(tmp_path / "file", "tmp")
    assert sorted(tmp_path.iterdir()) == sorted(kept)
