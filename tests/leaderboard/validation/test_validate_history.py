"""Append-only: what stands in the results at a commit must stand there, byte for byte."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leaderboard.__main__ import main
from leaderboard.validation import validator
from tests.helpers.leaderboard.entries import checked, edit, write_entry, write_run

pytestmark = pytest.mark.process


def git(folder: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *settings, *arguments], check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "x")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose branch `base` has a reference, an entry of two seeds per cell, and a list of verified ones."""
    monkeypatch.setattr(validator, "RESULTS", tmp_path / "elsewhere")
    monkeypatch.setattr(
        validator, "commit_problems", lambda runs, path, strict: iter(())
    )  # records name no commit of its own
    root = tmp_path / "a repository"
    write_entry(root / "leaderboard" / "results", "transformer", n_seeds=1)
    write_entry(root / "leaderboard" / "results", n_seeds=2)
    (root / "leaderboard" / "verified.yaml").write_text("[]\n")
    (root / "README.md").write_text("read\n")
    git(tmp_path, "init", "--quiet", "--initial-branch", "base", str(root))
    commit(root)
    return root


def found(path: Path, base: str = "base") -> list[str]:
    """Problems with the file's name from the repository on."""
    root = next(folder for folder in (path, *path.parents) if (folder / ".git").exists())
    return [str(problem).removeprefix(f"{root}/") for problem in checked(path, base).problems]


def test_additions_are_welcome(checkout: Path) -> None:
    """A third seed in each cell, another entry, a change somewhere else; committed or not."""
    results = checkout / "leaderboard" / "results"
    assert found(results) == []
    for cell in ("lm-a", "lm-b"):
        write_run(results / "tiny" / "my_model", cell, 2, "diverged")
    write_entry(results, "another")
    (checkout / "README.md").write_text("changed\n")
    assert found(results) == []
    git(checkout, "switch", "--quiet", "--create", "mine")
    commit(checkout)
    assert found(results) == []


def appended_with_a_gap(entry: Path) -> None:
    write_run(entry, "lm-a", 3)


def rewritten(entry: Path) -> None:
    """Another valid record of the same seed."""
    edit(entry / "lm-a" / "seed0", **{"hardware.name": "Another CPU"})


def renamed(entry: Path) -> None:
    (entry / "lm-a").rename(entry / "lm-c")


def without_an_entry(entry: Path) -> None:
    shutil.rmtree(entry)


def other_authors(entry: Path) -> None:
    path = entry / "entry.yaml"
    path.write_text(path.read_text().replace("A. Author", "B. Author"))


def line_ends(entry: Path) -> None:
    path = entry / "entry.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def linked(entry: Path) -> None:
    path = entry / "lm-a" / "seed0" / "curves.parquet"
    path.rename(entry.parents[3] / "curves")
    path.symlink_to(entry.parents[3] / "curves")


def verified(entry: Path) -> None:
    (entry.parents[2] / "verified.yaml").write_text("- {}\n")


RECORD = "leaderboard/results/tiny/my_model/lm-a/seed0/record.json"
ENTRY = "leaderboard/results/tiny/my_model/entry.yaml"
RULE = "base: what has been accepted is never altered, seeds are only added"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (appended_with_a_gap, "leaderboard/results/tiny/my_model/lm-a: seeds: must be 0, 1, 2, ... without a gap"),
        (rewritten, f"{RECORD}: file: has changed since {RULE}"),
        (renamed, f"{RECORD}: file: is gone since {RULE}"),
        (without_an_entry, f"{ENTRY}: file: is gone since {RULE}"),
        (other_authors, f"{ENTRY}: file: has changed since {RULE}"),
        (line_ends, f"{ENTRY}: file: has changed since {RULE}"),
        (
            linked,
            "leaderboard/results/tiny/my_model/lm-a/seed0/curves.parquet: file: is no ordinary file, as it was or",
        ),
        (verified, f"leaderboard/verified.yaml: file: has changed since {RULE}"),
    ],
)
@pytest.mark.parametrize("committed", [False, True])
def test_what_was_accepted_stays(
    checkout: Path, change: Callable[[Path], None], expected: str, committed: bool
) -> None:
    change(checkout / "leaderboard" / "results" / "tiny" / "my_model")
    if committed:
        git(checkout, "switch", "--quiet", "--create", "mine")
        commit(checkout)
    lines = found(checkout / "leaderboard" / "results")
    assert any(line.startswith(expected) for line in lines), lines


def test_last_seed_may_not_be_dropped(checkout: Path) -> None:
    """The rest is a valid entry; only history knows of the seed that is gone."""
    results = checkout / "leaderboard" / "results"
    shutil.rmtree(results / "tiny" / "my_model" / "lm-b" / "seed1")
    assert checked(results).problems == ()
    where = "leaderboard/results/tiny/my_model/lm-b/seed1"
    assert found(results) == [
        f"{where}/{name}: file: is gone since {RULE}" for name in ("curves.parquet", "record.json")
    ]


def test_new_list_of_verified_entries(checkout: Path) -> None:
    path = checkout / "leaderboard" / "verified.yaml"
    path.unlink()
    commit(checkout)
    path.write_text("[]\n")
    line = "leaderboard/verified.yaml: file: is new since HEAD: only maintainers write it"
    assert found(checkout / "leaderboard" / "results", "HEAD") == [line]


def test_from_inside_an_entry(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of the results is compared, from wherever it is looked at."""
    entry = checkout / "leaderboard" / "results" / "tiny" / "my_model"
    other_authors(entry.parent / "transformer")
    monkeypatch.chdir(entry / "lm-a")
    for path in ("..", "../.", entry):
        [problem] = checked(path, "base").problems
        assert problem.file.endswith("leaderboard/results/tiny/transformer/entry.yaml")


@pytest.mark.parametrize("base", ["nowhere", "", "--help", "base:README.md", "base; touch x"])
def test_commit_that_is_not_there(checkout: Path, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(checkout / "leaderboard" / "results"), f"--base={base}", "--no_replay"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert captured.err.startswith(f"error: --base {base}: no such commit in ")


def test_no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = write_entry(tmp_path / "results", cells=("lm-a",), n_seeds=1)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(ValueError, match=r"my_model: git rev-parse: fatal: not a git repository"):
        checked(entry, "base")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="--base needs git, which cannot be run"):
        checked(entry, "base")
