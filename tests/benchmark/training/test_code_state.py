"""The code that a record names: what git says of the checkout, and what a run went on with."""

import os
import subprocess
from pathlib import Path

import pytest

import benchmark
from benchmark.training.machine import environment
from benchmark.training.machine.environment import read_git
from leaderboard.records.record import Git
from tests.helpers.runs import LM, fit, record_of, send_at

CLEAN, OTHER = Git(commit="a" * 40, dirty=False), Git(commit="b" * 40, dirty=False)
DIRTY = CLEAN.model_copy(update={"dirty": True})
UNKNOWN = Git(commit=None, dirty=None)


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", folder, *settings, *words], check=True, capture_output=True, env=environ)
    return done.stdout.decode().strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the rooms in it."""
    root = tmp_path / "checkout"
    for room in ("architectures/ops", "benchmark", "datamodules", "leaderboard/results", "docs"):
        (root / room).mkdir(parents=True)
        (root / room / "a.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("__pycache__/\nignored*\nruns/\n")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "x")
    return root


CHANGES = {
    "nothing": ("", False),
    "tracked": ("echo x = 2 > docs/a.py", True),
    "staged": ("touch benchmark/b.py; git add --all", True),
    "deleted": ("rm datamodules/a.py", True),
    "untracked architecture": ("touch architectures/mine.py", True),
    "untracked in a subfolder": ("touch architectures/ops/mine.py", True),
    "untracked library": ("touch architectures/mine.cpython-311-x86_64-linux-gnu.so", True),
    "ignored module": ("touch benchmark/ignored.py", True),
    "excluded module": ("echo mine.py > .git/info/exclude; touch datamodules/mine.py", True),
    "linked package": ("mkdir ../elsewhere; ln -s ../../elsewhere architectures/mine", True),
    "repository within": ("cp -r . ../copy; cp -r ../copy architectures/mine", True),
    "assumed unchanged": ("git update-index --assume-unchanged benchmark/a.py; echo x = 2 > benchmark/a.py", True),
    "skipped": ("git update-index --skip-worktree benchmark/a.py; echo x = 2 > benchmark/a.py", True),
    "not checked out": ("git update-index --skip-worktree benchmark/a.py; rm benchmark/a.py", False),
    "same size and time": (
        "touch -r benchmark/a.py ../time; echo x = 2 > benchmark/a.py; touch -r ../time benchmark/a.py;"
        " git config core.checkStat minimal; git config core.trustctime false",
        True,
    ),
    "no untracked files shown": ("git config status.showUntrackedFiles no; touch architectures/mine.py", True),
    "compiled": ("mkdir benchmark/__pycache__; touch benchmark/__pycache__/a.pyc", False),
    "results and runs": ("touch leaderboard/results/record.json; mkdir runs; touch runs/a.py", False),
    "a script beside the rooms": ("touch try.py", False),
}
"""Changes of the checkout by their name: commands, and whether it is dirty then."""


@pytest.mark.process
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_dirty(change: str, checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    commands, dirty = CHANGES[change]
    subprocess.run(["sh", "-ec", commands], cwd=checkout, check=True)
    assert read_git(checkout) == Git(commit=commit, dirty=dirty)


@pytest.mark.process
def test_other_ways_to_hold_a_checkout(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clones without history, work trees and links are checkouts too; what lies within another project is none."""
    state = read_git(checkout)
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{checkout}", "shallow")
    git(checkout, "worktree", "add", "--quiet", str(tmp_path / "tree"))
    (tmp_path / "link").symlink_to(checkout)
    for folder in ("shallow", "tree", "link"):
        assert read_git(tmp_path / folder) == state
    assert read_git(checkout / "benchmark") == UNKNOWN
    assert read_git(tmp_path) == UNKNOWN
    git(tmp_path, "init", "--quiet", "empty")
    assert read_git(tmp_path / "empty") == UNKNOWN


@pytest.mark.process
def test_the_environment_does_not_lead_elsewhere(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "--quiet", str(checkout), "other")
    state = read_git(checkout)
    (checkout / "benchmark" / "a.py").write_text("x = 2\n")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    assert read_git(checkout) == state.model_copy(update={"dirty": True})


@pytest.mark.process
@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_checkout_of_somebody_else(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: git refuses such a one unless it is told that it is safe."""
    state = read_git(checkout)
    for path in (checkout, checkout / ".git"):
        os.chown(path, 12345, 12345)
    assert read_git(checkout) == state


@pytest.mark.process
@pytest.mark.parametrize("program", [None, "sleep 60", "exit 1", "printf '\\377\\n\\377\\n'"])
def test_a_git_that_does_not_answer(
    program: str | None, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    if program is not None:
        (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}" + ("" if program is None else ":/bin:/usr/bin"))
    monkeypatch.setattr(environment, "_GIT_TIMEOUT_S", 0.5)
    assert read_git(checkout) == UNKNOWN


@pytest.mark.parametrize(
    ("at_import", "now", "said"),
    [
        (CLEAN, CLEAN, CLEAN),
        (CLEAN, DIRTY, DIRTY),
        (DIRTY, CLEAN, DIRTY),
        (CLEAN, OTHER, DIRTY),
        (UNKNOWN, CLEAN, UNKNOWN),
        (CLEAN, UNKNOWN, DIRTY),
    ],
)
def test_code_that_was_imported_counts(at_import: Git, now: Git, said: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restoring the files does not change what runs already; nor does another commit that is checked out."""
    monkeypatch.setattr(environment, "_AT_IMPORT", at_import)
    monkeypatch.setattr(environment, "read_git", lambda root: now)
    assert environment.git_state() == said


def test_packages_that_are_installed_later_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's fork server goes on with what it has imported."""
    before = environment.versions()
    monkeypatch.setattr(environment, "version", lambda package: "999")
    assert environment.versions() == before and "999" not in before.values()


@pytest.mark.train
def test_the_state_is_read_when_the_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that is restored while the run goes on was other code when it began."""
    states = [DIRTY]
    monkeypatch.setattr(environment, "git_state", lambda: states[-1])
    monkeypatch.setattr(
        "benchmark.training.module.EmergenceModule.on_train_batch_start", lambda *_: states.append(CLEAN)
    )
    _, folder = fit(LM, tmp_path, "a", 4, 2)
    assert record_of(folder).git == DIRTY and record_of(folder).resumed == ()


@pytest.mark.train
def test_a_resume_under_other_code_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit and versions are those of the beginning; every change is named once, with its step."""
    torch = {"torch": "1"}
    code = [(CLEAN, torch), (CLEAN, torch), (DIRTY, torch), (DIRTY, torch), (CLEAN, {"torch": "2"})]
    begun = iter(code)
    current = [next(begun)]
    monkeypatch.setattr(environment, "git_state", lambda: current[0][0])
    monkeypatch.setattr(environment, "versions", lambda: current[0][1])
    with monkeypatch.context() as patch:
        send_at(patch, 1, 3, 5, 7)
        _, folder = fit(LM, tmp_path, "a", 10, 5)
        for current[0] in begun:
            assert record_of(folder).status == "interrupted"
            try:
                benchmark.resume(folder)
            except KeyboardInterrupt:
                continue
    record = record_of(folder)
    assert (record.status, record.git, record.versions) == ("censored", CLEAN, torch)
    changes = [(change.step, change.git, change.versions) for change in record.resumed]
    assert changes == [(4, DIRTY, torch), (8, CLEAN, {"torch": "2"})]
