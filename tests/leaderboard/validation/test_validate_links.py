"""The tree that git has of a pull request counts, and nothing is read through a link."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leaderboard.validation import validator
from leaderboard.validation.checkout import links_to
from tests.helpers.leaderboard.entries import checked, problem_lines, write_entry, write_run

ENTRY = "leaderboard/results/tiny/my_model"
RECORD = f"{ENTRY}/lm-a/seed0/record.json"
RULE = "base: what has been accepted is never altered, seeds are only added"


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *settings, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "x")


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose branch `base` has a reference and an entry; to be cloned and never changed."""
    root = tmp_path_factory.mktemp("accepted") / "base"
    write_entry(root / "leaderboard" / "results", "transformer", n_seeds=1)
    write_entry(root / "leaderboard" / "results", n_seeds=2)
    (root / "leaderboard" / "code.py").touch()
    git(root.parent, "init", "--quiet", "--initial-branch", "base", str(root))
    commit(root)
    return root


@pytest.fixture
def pr(accepted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of it, as a reviewer's CI checks a pull request out beside the base."""
    monkeypatch.setattr(validator, "RESULTS", tmp_path / "elsewhere")
    monkeypatch.setattr(
        validator, "commit_problems", lambda runs, path, strict: iter(())
    )  # records name none of its own
    shutil.copytree(accepted, tmp_path / "base")
    git(tmp_path, "clone", "--quiet", "base", "pr")
    git(tmp_path / "pr", "switch", "--quiet", "--create", "mine")
    return tmp_path / "pr"


def lines(path: Path, base: str | None = "base") -> list[str]:
    """Problems, with the names of files from the pull request's root on."""
    root = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.name == "pr")
    return [str(problem).replace(f"{root}/", "") for problem in checked(path, base).problems]


def results_elsewhere(pr: Path) -> None:
    """The case of the issue: a link to the base's own results, where every record can be seen."""
    shutil.rmtree(pr / "leaderboard" / "results")
    (pr / "leaderboard" / "results").symlink_to("../../base/leaderboard/results")


def room_elsewhere(pr: Path) -> None:
    shutil.rmtree(pr / "leaderboard")
    (pr / "leaderboard").symlink_to("../base/leaderboard")


def room_moved(pr: Path) -> None:
    """Within the checkout, where git has every file once more under another name."""
    (pr / "leaderboard").rename(pr / "board")
    (pr / "leaderboard").symlink_to("board")


def suite_elsewhere(pr: Path) -> None:
    shutil.rmtree(pr / "leaderboard" / "results" / "tiny")
    (pr / "leaderboard" / "results" / "tiny").symlink_to("../../../base/leaderboard/results/tiny")


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize(
    ("change", "link"),
    [
        (results_elsewhere, "leaderboard/results"),
        (room_elsewhere, "leaderboard"),
        (room_moved, "leaderboard"),
        (suite_elsewhere, "leaderboard/results/tiny"),
    ],
)
def test_link_that_hides_a_deletion(pr: Path, change: Callable[[Path], None], link: str, committed: bool) -> None:
    assert lines(pr / "leaderboard" / "results") == []
    change(pr)
    if committed:
        commit(pr)
    for base in ("base", None):
        found = lines(pr / "leaderboard" / "results", base)
        assert any(line.startswith(f"{link}: file: is a symbolic link") for line in found), found
    assert len(lines(pr / "leaderboard" / "results")) < 5  # of the link, and not of each file below it


def gone(pr: Path) -> None:
    git(pr, "rm", "--quiet", "--cached", RECORD)  # and the file is there


def submodule(pr: Path) -> None:
    head = git(pr, "rev-parse", "HEAD")
    git(pr, "rm", "-r", "--quiet", "--cached", ENTRY)
    git(pr, "update-index", "--add", "--cacheinfo", f"160000,{head},{ENTRY}")


def link_in_git_only(pr: Path) -> None:
    (pr / "target").write_text("seed1/record.json")
    blob = git(pr, "hash-object", "-w", "target")
    (pr / "target").unlink()
    git(pr, "update-index", "--cacheinfo", f"120000,{blob},{RECORD}")


def other_content_in_git_only(pr: Path) -> None:
    git(pr, "update-index", "--cacheinfo", f"100644,{git(pr, 'rev-parse', 'HEAD:leaderboard/code.py')},{RECORD}")


def executable(pr: Path) -> None:
    git(pr, "update-index", "--chmod=+x", RECORD)


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (gone, f"{RECORD}: file: is gone in {{where}} since {RULE}"),
        (submodule, f"{ENTRY}: file: is a submodule in {{where}}"),
        (link_in_git_only, f"{RECORD}: file: is a symbolic link in {{where}}"),
        (other_content_in_git_only, f"{RECORD}: file: has changed in {{where}} since {RULE}"),
        (executable, f"{RECORD}: file: is executable in {{where}}"),
    ],
)
def test_files_are_all_there_and_git_has_others(
    pr: Path, change: Callable[[Path], None], expected: str, committed: bool
) -> None:
    """Staged, where a commit is still to come; and committed, with the index as it was."""
    before = git(pr, "rev-parse", "HEAD")
    change(pr)
    if committed:
        git(pr, "commit", "--quiet", "--message", "x")
        git(pr, "read-tree", before)
    assert checked(pr / "leaderboard" / "results").problems == ()
    where = "HEAD" if committed else "the index"
    found = lines(pr / "leaderboard" / "results")
    assert any(line.startswith(expected.format(where=where)) for line in found), found


def test_files_left_out_of_the_checkout(pr: Path) -> None:
    """Git takes them for unchanged."""
    git(pr, "sparse-checkout", "set", "--no-cone", "/*", f"!/{ENTRY}/lm-b/")
    assert git(pr, "status", "--porcelain") == ""
    found = lines(pr / "leaderboard" / "results")
    assert f"{ENTRY}/lm-b/seed1/record.json: file: is gone since {RULE}" in found
    assert any(line.startswith(f"{ENTRY}/lm-b/seed1/record.json: file: is marked skip-worktree") for line in found)


def test_new_file_that_git_does_not_look_at(pr: Path) -> None:
    """So what is checked is not what is committed."""
    folder = write_run(pr / ENTRY, "lm-a", 2)
    write_run(pr / ENTRY, "lm-b", 2)
    commit(pr)
    assert lines(pr / "leaderboard" / "results") == []
    git(pr, "update-index", "--assume-unchanged", str(folder / "record.json"))
    [line] = lines(pr / "leaderboard" / "results")
    assert line.startswith(f"{ENTRY}/lm-a/seed2/record.json: file: is marked assume-unchanged")


@pytest.mark.parametrize("attribute", ["text=auto", "eol=crlf", "ident", "filter=lfs", "working-tree-encoding=latin-1"])
def test_attributes_that_change_files(pr: Path, attribute: str) -> None:
    (pr / "leaderboard" / ".gitattributes").write_text(f"*.json {attribute}\n*.parquet -text\n")
    commit(pr)
    [*_, line] = [line for line in lines(pr / "leaderboard" / "results") if "attribute" in line]
    assert line.split("attribute ")[1].split(" ")[0] == attribute.partition("=")[0]
    assert "curves.parquet" not in line


def test_uncommitted_files_are_noted(pr: Path) -> None:
    assert not any("commit" in note for note in checked(pr / "leaderboard" / "results", "base").notes)
    write_run(pr / ENTRY, "lm-a", 2)
    [note] = [note for note in checked(pr / "leaderboard" / "results", "base").notes if "commit" in note]
    assert note.startswith(f"2 files differ from HEAD, e.g. {ENTRY}/lm-a/seed2/")


def stored(pr: Path, name: str) -> None:
    """A file that git has and no file system need hold."""
    blob = git(pr, "rev-parse", "HEAD:leaderboard/code.py")
    git(pr, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{ENTRY}/LM-A/seed0/record.json", f"{ENTRY}/LM-A: name: is {ENTRY}/lm-a to some file systems"),
        (f"{ENTRY}/lm-a/seed0/Record.json", f"{ENTRY}/lm-a/seed0/Record.json: name: is {RECORD} to"),
        ("leaderboard/Results/x/record.json", "leaderboard/Results: name: is leaderboard/results to some file systems"),
        ("Leaderboard/x", "Leaderboard: name: is leaderboard to some file systems"),
        ("leaderboard/results/tiny/con/x", "leaderboard/results/tiny/con/x: name: is the name of a device on Windows"),
        (f"{ENTRY}/x./y", f"{ENTRY}/x./y: name: ends in a dot"),
        (f"{ENTRY}/a\\b", f"{ENTRY}/a\\b: name: holds '\\\\'"),
        (f"{ENTRY}/a\nb", f"{ENTRY}/a\\nb: name: holds a control character"),
    ],
)
def test_names_in_git(pr: Path, name: str, expected: str) -> None:
    stored(pr, name)
    found = lines(pr / "leaderboard" / "results")
    assert any(line.startswith(expected) for line in found), found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LM-A", "LM-A: name: is lm-a to some file systems|lm-a: name: is LM-A to some file systems"),
        ("CON", "CON: name: is the name of a device on Windows"),
        ("nul.lm", "nul.lm: name: is the name of a device on Windows"),
        ("com1", "com1: name: is the name of a device on Windows"),
        ("lm.", "lm.: name: ends in a dot"),
    ],
)
def test_names_among_files(results: Path, name: str, expected: str) -> None:
    (results / "tiny" / "my_model" / "lm-a" / "seed0").parent.with_name(name).mkdir()
    found = problem_lines(results)
    assert any(line.startswith(f"tiny/my_model/{start}") for line in found for start in expected.split("|")), found


def test_executable_file(results: Path, seed0: Path) -> None:
    (seed0 / "record.json").chmod(0o755)
    [line] = problem_lines(results)
    assert line == "tiny/my_model/lm-a/seed0/record.json: file: is executable: chmod -x it"
    git(results.parent, "init", "--quiet")
    git(results.parent, "config", "core.fileMode", "false")  # a file system that shows the same for all files
    assert problem_lines(results) == []


@pytest.mark.parametrize("level", ["leaderboard", "results", "tiny", "my_model"])
def test_links_without_git(pristine: Path, tmp_path: Path, level: str) -> None:
    """The folder asked for and those above it, from `leaderboard` on."""
    real, seen = tmp_path / "real" / "leaderboard" / "results", tmp_path / "seen" / "leaderboard" / "results"
    shutil.copytree(pristine, real)
    shutil.copytree(pristine, seen)
    path = seen / "tiny" / "my_model"
    link = next(folder for folder in (path, *path.parents) if folder.name == level)
    shutil.rmtree(link)
    link.symlink_to(tmp_path / "real" / link.relative_to(tmp_path / "seen"))
    report = checked(path)
    assert [(problem.file, problem.reason.split(":")[0]) for problem in report.problems] == [
        (str(link), "is a symbolic link")
    ]
    assert report.n_records == 0


def test_link_outside_of_any_checkout_is_the_users(pr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pr.parent / "home").symlink_to(pr.parent)
    assert lines(pr.parent / "home" / "pr" / "leaderboard" / "results") == []
    monkeypatch.chdir(pr)
    assert checked("leaderboard/results", "base").problems == ()
    assert links_to(Path("leaderboard/results/../results/tiny")) == ([], pr / "leaderboard" / "results" / "tiny")


def test_working_folder_behind_a_link(pr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel no longer knows how the user came there; the shell does."""
    results_elsewhere(pr)
    monkeypatch.chdir(pr / "leaderboard" / "results")
    monkeypatch.setenv("PWD", str(pr / "leaderboard" / "results"))
    for path in (".", "tiny", "tiny/my_model/.."):
        assert links_to(Path(path)) == ([pr / "leaderboard" / "results"], pr / "leaderboard")
    monkeypatch.setenv("PWD", "/")  # not where the process is
    assert links_to(Path("tiny")) == ([], Path(os.getcwd()) / "tiny")


def test_reference_behind_a_link(results: Path) -> None:
    """It lies beside the entry that is asked for."""
    reference = results / "tiny" / "transformer"
    reference.rename(results.parent / "away")
    reference.symlink_to(results.parent / "away")
    found = checked(results / "tiny" / "my_model").problems
    assert {(problem.file, problem.reason) for problem in found} == {
        (str(reference), "is a symbolic link: only files and folders are allowed")
    }


def test_environment_does_not_lead_git_elsewhere(pr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(pr / ENTRY)
    commit(pr)
    monkeypatch.setenv("GIT_DIR", str(pr.parent / "base" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(pr.parent / "base"))
    assert f"{RECORD}: file: is gone since {RULE}" in lines(pr / "leaderboard" / "results")


def test_nothing_in_the_checkout_is_run(pr: Path, tmp_path: Path) -> None:
    """A folder that somebody sent may hold a repository with a configuration of its own."""
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n")
    script.chmod(0o755)
    git(pr, "config", "core.fsmonitor", str(script))
    git(pr, "config", "filter.own.clean", str(script))
    git(pr, "config", "filter.own.smudge", str(script))
    (pr / ".git" / "info" / "attributes").write_text("* filter=own\n")
    (pr / RECORD).touch()
    lines(pr / "leaderboard" / "results")
    assert not (tmp_path / "run").exists()
