"""Validation: what may lie where, JSON that parsers disagree on, and lines that stay one line."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from leaderboard.records.plain_text import is_plain, shown
from leaderboard.validation import validate
from leaderboard.validation.entry_folder import MAX_SIZES
from leaderboard.validation.report import Problem
from leaderboard.validation.strict_json import json_problems
from tests.helpers.leaderboard.entries import CELLS, checked, edit, problem_lines, write_run


def folder_rules() -> list[tuple[Callable[[Path], object], str]]:
    """A change of the entry's folder, and the one line that names it."""
    seed = "lm-a/seed0"
    return [
        (lambda e: (e / "README.md").touch(), "README.md: file: is not expected: an entry holds"),
        (lambda e: (e / ".hidden").touch(), ".hidden: name: is hidden"),
        (lambda e: (e / seed / ".x").mkdir(), f"{seed}/.x: name: is hidden"),
        (lambda e: (e / seed / "last.ckpt").touch(), f"{seed}/last.ckpt: file: is not expected: a seed's folder"),
        (lambda e: (e / seed / "more").mkdir(), f"{seed}/more: name: is not expected: a seed's folder has no folders"),
        (lambda e: (e / "lm-a" / "record.json").touch(), "lm-a/record.json: file: is not expected: here are folders"),
        (lambda e: (e / "lm-a" / "entry.yaml").touch(), "lm-a/entry.yaml: file: is not expected"),
        (lambda e: (e / "lm-a" / "seed03").mkdir(), "lm-a/seed03: name: is not expected: a cell holds folders seed0"),
        (lambda e: (e / "lm a").mkdir(), "lm a: name: is not expected: a cell's name has letters"),
        (lambda e: (e / "<b>").mkdir(), "<b>: name: is not expected"),
        (lambda e: (e / "a\nb").mkdir(), "a\\nb: name: holds a control character"),
        (lambda e: (e / os.fsdecode(b"\xff")).mkdir(), "\\udcff: name: holds a control character"),
        (lambda e: (e / "lm-c").mkdir(), "lm-c: seeds: must be 0, 1, 2, ... without a gap, are none"),
        (lambda e: (e / "entry.yaml").unlink(), "entry.yaml: file: is missing"),
        (lambda e: link(e / seed / "record.json"), f"{seed}/record.json: file: is a symbolic link"),
        (lambda e: link(e / "entry.yaml"), "entry.yaml: file: is a symbolic link"),
        (lambda e: link(e / "lm-a" / "seed2"), "lm-a/seed2: file: is a symbolic link"),
        (lambda e: (e / "lm-a" / "seed3").symlink_to("/"), "lm-a/seed3: file: is a symbolic link"),
        (lambda e: pipe(e / seed / "record.json"), f"{seed}/record.json: file: is no ordinary file"),
        (lambda e: pipe(e / seed / "curves.parquet"), f"{seed}/curves.parquet: file: is no ordinary file"),
        (lambda e: listen(e / seed / "curves.parquet"), f"{seed}/curves.parquet: file: is no ordinary file"),
        (lambda e: grow(e / seed / "record.json"), f"{seed}/record.json: size: is 100,001 bytes, at most 100,000"),
        (lambda e: grow(e / seed / "curves.parquet"), f"{seed}/curves.parquet: size: is 2,000,001 bytes, at most 2,00"),
        (lambda e: grow(e / "entry.yaml"), "entry.yaml: size: is 20,001 bytes, at most 20,000"),
        (lambda e: (e / seed / "record.json").unlink(), f"{seed}/record.json: file: is missing"),
        (lambda e: (e / seed / "curves.parquet").unlink(), f"{seed}/curves.parquet: file: is missing"),
        (lambda e: (e / seed).rename(e / "lm-a" / "seed3"), "lm-a: seeds: must be 0, 1, 2, ... without a gap, are 1"),
        (lambda e: (e / seed).rename(e / "seed0"), "seed0/record.json: file: is not expected"),
        (lambda e: (e / "lm-a").rename(e / "lm-c"), "lm-c/seed0/record.json: cell: is 'lm-a', but the folder is of"),
    ]  # fmt: skip


def link(path: Path) -> None:
    """Move it away, and leave a link to it."""
    path.rename(path.parents[4] / "moved")
    path.symlink_to(path.parents[4] / "moved")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def listen(path: Path) -> None:
    path.unlink()
    folder = os.getcwd()
    os.chdir(path.parent)  # the name of a socket must be short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(folder)


def grow(path: Path) -> None:
    """Spaces at the end, to one byte more than is allowed."""
    path.write_bytes(path.read_bytes().ljust(MAX_SIZES[path.name] + 1))


@pytest.mark.parametrize("number", range(len(folder_rules())))
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_folder_rules(results: Path, number: int) -> None:
    spoil, expected = folder_rules()[number]
    spoil(results / "tiny" / "my_model")
    found = problem_lines(results)
    assert any(line.startswith(f"tiny/my_model/{expected}") for line in found), found
    assert all("\n" not in line and "transformer" not in line.split(": ")[0] for line in found)


def test_hard_link_is_a_note(results: Path, seed0: Path) -> None:
    (results.parent / "other").hardlink_to(seed0 / "record.json")
    report = checked(results)
    assert report.problems == ()
    assert report.notes[0] == f"{seed0 / 'record.json'}: is a hard link, one of 2 names of the same file"


def test_limits_of_number(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from leaderboard.validation import entry_folder

    monkeypatch.setattr(entry_folder, "MAX_SEEDS", 2)
    assert problem_lines(results) == [f"tiny/my_model/{cell}: seeds: are 3, at most 2 are allowed" for cell in CELLS]
    monkeypatch.setattr(entry_folder, "MAX_FILES", 25)
    assert [problem.reason for problem in checked(results).problems] == ["holds more than 25 files and folders"]


def test_results_without_entry(results: Path) -> None:
    """Below `figures` and `tuning` records are held against schema, hash and curves; elsewhere they need an entry."""
    free = write_run(results / "figures" / "one" / "my_model", "lm-a", 7)
    edit(free, suite=None, cell=None, **{"git.dirty": True})
    (free / "curves.png").touch()
    assert problem_lines(results) == []
    assert checked(results / "figures" / "one").n_records == 1
    edit(free, **{"hits.rows_100": {"step": 550, "previous_step": 500}})
    assert problem_lines(results)[0].startswith("figures/one/my_model/lm-a/seed7/record.json: hits.rows_100: is 550")
    edit(free, **{"curves.sha256": "0" * 64})
    assert problem_lines(results)[0].startswith("figures/one/my_model/lm-a/seed7/record.json: curves.sha256: is 000")
    (free / "record.json").write_text("{}")
    assert problem_lines(results)[0].startswith("figures/one/my_model/lm-a/seed7/record.json: ")
    (free / "record.json").unlink()
    (free / "run.sh").touch()
    assert [line.removeprefix("figures/one/my_model/lm-a/seed7/") for line in problem_lines(results)] == [
        "record.json: file: is missing",
        "run.sh: file: is not expected: here are folders with record.json, curves.parquet, probes.parquet"
        " and curves.png only",
    ]


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert [problem.reason for problem in validate(tmp_path / "results").problems] == ["holds no record"]
    with pytest.raises(ValueError, match="gone: no such folder"):
        validate(tmp_path / "gone")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "is no valid JSON: key 'c' stands there twice"),
        (b'{"a": NaN}', "is no valid JSON: NaN is no number"),
        (b'{"a": [-Infinity]}', "is no valid JSON: -Infinity is no number"),
        (b'{"a": 1e999}', "is no valid JSON: number 1e999 is not finite"),
        (b'{"a": 9223372036854775808}', "is no valid JSON: integer 9223372036854775808 does not fit into 64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is no valid JSON: integer 999999999999999999999999999999 does not fit"),
        (b'{"a": ' + b"[" * 21 + b"]" * 21 + b"}", "is no valid JSON: is nested deeper than 20 levels"),
        (b"[" * 50_000, "is nested deeper than 20 levels"),
        (b'{"a": {"b": "' + b"x" * 1001 + b'"}}', "has 1,001 characters, at most 1,000 are allowed"),
        (b'{"' + b"x" * 1001 + b'": 1}', "is a name with a control character or of more than 1,000 characters"),
        (b"[1]", "is no valid JSON: must be an object, is list"),
        (b'{"a": "\\ud800"}', "holds a control character: '\\ud800'"),
        (b"\xef\xbb\xbf{}", "is no valid JSON: Unexpected UTF-8 BOM"),
        (b"\xff\xfe{\x00}\x00", "is no valid JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"", "is no valid JSON: Expecting value"),
    ],
)
def test_strict_json(content: bytes, reason: str) -> None:
    [(_, found)] = json_problems(content)
    assert found.startswith(reason)


def test_strict_json_lets_records_pass(seed0: Path) -> None:
    assert list(json_problems((seed0 / "record.json").read_bytes())) == []
    assert (
        list(json_problems(b'{"a": 9223372036854775807, "b": [1e308, null], "c": "\\u00e9 <b>' + b"x" * 990 + b'"}'))
        == []
    )


def test_line_of_a_problem() -> None:
    problem = Problem("a\nb", "f\x1b", "r" * 400)
    assert str(problem) == f"a\\nb: f\\x1b: {'r' * 300}..."
    assert shown("\u202e\ud800\u4e2d") == "\\u202e\\ud800\u4e2d"
    assert is_plain("caf\u00e9 <b> \u4e2d\u6587 \U0001f600") and not is_plain("a\u2028b")
