"""Files that wait, never end, or nest without end, in the folders that commands are given: one line each, at once."""

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from leaderboard.records import record_files
from leaderboard.records.bounded import MAX_RECORD_BYTES
from leaderboard.records.record import Record, write_record
from leaderboard.records.record_files import files_below, find_records
from tests.helpers.leaderboard.fuzz import answer, attack, tree
from tests.helpers.leaderboard.records import make_record

pytestmark = pytest.mark.process  # a figure of `build` is drawn by one


def a_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def an_endless_device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def a_huge_file(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)  # takes no room on the disk


def deep_brackets(path: Path) -> None:
    path.write_text('{"status": ' + "[" * 100_000)


def a_deep_whole(path: Path) -> None:
    path.write_text('{"status": ' + "[" * 3000 + "]" * 3000 + "}")


SPOILS = [a_pipe, an_endless_device, a_huge_file, deep_brackets, a_deep_whole]


@pytest.mark.parametrize("name", ["record.json", "other.json", "entry.yaml", "curves.parquet"])
@pytest.mark.parametrize("spoil", SPOILS)
def test_every_command(spoil: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    """The reason that is given for the file, where it counts at all."""
    results, _ = tree(tmp_path)
    path = next((results / "lite" / "mamba").rglob(name if name == "entry.yaml" else "record.json")).with_name(name)
    spoil(path)
    entry = str(results / "lite" / "mamba")
    about = ["--name=own", "--title=t", "--authors=a", "--licence=MIT", "--tuning_trials=0", "--out", f"{tmp_path}/out"]
    for words in (
        ["show", str(results)],
        ["check", entry, "--against", str(results), "--reference", "transformer"],
        ["build", str(results), "--out", f"{tmp_path}/out", "--check"],
        ["submit", entry, *about],
    ):
        code, lines, seconds = answer(words)
        assert code in {0, 1, 2, 11, 13} and seconds < 20, words
        assert len(lines) <= 2 and all(len(line) < 600 for line in lines), lines
        reads = {
            "show": {"record.json"},
            "check": {"record.json", "entry.yaml"},
            "build": {"record.json", "entry.yaml"},
        }
        if name in reads.get(words[0], ()):
            assert any(str(path) in line for line in lines), (words, lines)
    assert not (tmp_path / "out").exists() or name != "curves.parquet"


@pytest.mark.parametrize("spoil", [a_pipe, an_endless_device])
def test_list_of_verified_entries(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    results, _ = tree(tmp_path)
    spoil(tmp_path / "verified.yaml")
    code, [line], _ = answer(["build", str(results), "--out", str(tmp_path / "out"), "--check"])
    assert code == 2 and line.startswith(f"error: {tmp_path}/verified.yaml: is no ordinary file")


def test_links_to_ordinary_files_are_read(tmp_path: Path) -> None:
    """A user may lay out runs with links."""
    write_record(tmp_path / "away" / "run.json", make_record())
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "record.json").symlink_to("../away/run.json")
    [(_, found)] = find_records(tmp_path / "runs")
    assert found == make_record()


def test_large_json_of_others_is_no_record(tmp_path: Path) -> None:
    content = '{"status": 1}'.ljust(MAX_RECORD_BYTES + 1)
    (tmp_path / "trace.json").write_text(content)
    assert list(find_records(tmp_path)) == []
    (tmp_path / "record.json").write_text(content)
    [(_, found)] = find_records(tmp_path)
    assert "is 1,000,001 bytes, at most 1,000,000 are allowed" in str(found)


def test_pipe_in_place_of_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "runs")
    code, lines, _ = answer(["show", str(tmp_path / "runs")])
    assert code == 2 and "runs: is no ordinary file" in lines[0]


def test_link_that_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    results, _ = tree(tmp_path)
    loop, entry = str(tmp_path / "loop"), str(results / "lite" / "mamba")
    for words in (
        ["show", loop],
        ["check", loop],
        ["check", entry, "--against", loop],
        ["build", loop],
        ["validate", loop],
    ):
        code, lines, _ = answer(words)
        assert code in {1, 2} and loop in lines[-1] and lines[-1].startswith("error: "), words


def test_more_files_than_anybody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        (tmp_path / f"folder{number}").mkdir()
        (tmp_path / f"folder{number}" / "x").touch()
    monkeypatch.setattr(record_files, "MAX_FOUND", 24)
    assert files_below(tmp_path, ".json") == []
    (tmp_path / "folder3" / "y").touch()
    for words in (
        ["show", str(tmp_path)],
        ["check", "x", "--against", str(tmp_path)],
        ["build", str(tmp_path), "--check"],
    ):
        code, [line], _ = answer(words)
        assert code == 2
        assert line == f"error: {tmp_path}: more than 24 files and folders lie below it: give the folder of your runs"


def test_root_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own folders are left out at the root alone; the root is played by a folder, machines differ."""
    for folder in ("proc", "sys", "dev", "home", "home/proc"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "record.json").touch()
    looked_at = []
    real = os.scandir

    def scandir(folder: str) -> object:
        looked_at.append(folder)
        return real(f"{tmp_path}{folder}")

    monkeypatch.setattr(os, "scandir", scandir)
    assert files_below(Path("/"), ".json") == [Path("/home/proc/record.json"), Path("/home/record.json")]
    assert sorted(looked_at) == ["/", "/home", "/home/proc"]


def test_folders_nested_deeper_than_python_calls(tmp_path: Path) -> None:
    folder = tmp_path / Path(*["d"] * 300)
    write_record(folder / "record.json", make_record())
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        [(_, found)] = find_records(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert found == make_record()


def test_control_characters_in_paths_and_values_are_shown_as_escapes(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J" / "record.json"
    path.parent.mkdir()
    path.write_text('{"schema_version": 1, "\\u001b[2J\\u202e": 1}')
    _, lines, _ = answer(["show", str(tmp_path)])
    assert lines[0].startswith(f"broken record: {tmp_path}/a\\x1b[2J/record.json: ")
    path.write_text(make_record().model_dump_json().replace('"sdpa"', '"\\u001b]0;x\\u0007"'))
    _, lines, _ = answer(["show", str(tmp_path)])
    assert lines[0].endswith("architecture.backend: holds a control character: '\\x1b]0;x\\x07'")


@pytest.mark.slow
def test_spoiled_records(tmp_path: Path) -> None:
    """Of 2,000 none gets through; these are the first."""
    counts = attack(tmp_path, range(40))
    assert counts["show 1"] > 10 and counts["check 2"] > 20


def test_the_attack_notices(tmp_path: Path) -> None:
    """A reader that raises something else is found by it."""
    with pytest.MonkeyPatch.context() as patch:

        def broken(content: bytes) -> Record:
            raise RuntimeError("of another kind")

        patch.setattr("leaderboard.records.record.parse_record", broken)
        with pytest.raises(AssertionError, match="0: show: RuntimeError"):
            attack(tmp_path, range(1), lambda text, _: text)
