"""An entry against its suite's file and reference, and against what has been accepted: on committed records."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from leaderboard.entries.places import RESULTS
from leaderboard.records.record import read_record
from leaderboard.validation import validate
from leaderboard.validation.entry_folder import RunFolder
from leaderboard.validation.forgery.known_records import accepted, commit_problems
from leaderboard.validation.forgery.suite_rules import cell_problems, choice_problems, size_problems, suite_cells
from leaderboard.validation.report import Problem
from leaderboard.validation.run_rules import CheckedRun
from tests.helpers.leaderboard.entries import READER, edit

ENTRY = RESULTS / "lite" / "mamba"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A seed of every cell of a committed entry, to be changed."""
    for cell in sorted(ENTRY.iterdir()):
        if cell.is_dir():
            shutil.copytree(cell / "seed0", tmp_path / "lite" / "mamba" / cell.name / "seed0")
    return tmp_path / "lite" / "mamba"


def runs(entry: Path) -> list[CheckedRun]:
    return [CheckedRun(RunFolder(p.parent, seed=0), read_record(p), ()) for p in sorted(entry.glob("*/*/record.json"))]


def against_suite(entry: Path, **changes: Any) -> list[str]:
    """Problems by field once cell lm_s10_n3 says something else."""
    edit(entry / "lm_s10_n3" / "seed0", **changes)
    found: list[Problem] = []
    suite = suite_cells("lite")
    for run in runs(entry):
        found += cell_problems(run, suite)
        reference = read_record(RESULTS / "lite" / "transformer" / str(run.record.cell) / "seed0/record.json")
        found += size_problems(run, reference, suite)
    return [problem.field for problem in [*found, *choice_problems(runs(entry), suite)]]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, []),
        ({"architecture.config.d_model": 320}, ["architecture.config.d_model"]),
        ({"architecture.config.n_layers": 2}, ["architecture.config.n_layers"]),
        ({"parameters": 30_000}, ["parameters"]),
        ({"architecture.config.expand": 20}, ["architecture.config.expand"]),
        ({"optimizer.lr": 0.002}, ["optimizer.lr"]),
        ({"optimizer.weight_decay": 0.01}, ["optimizer.weight_decay"]),
        ({"optimizer.warmup_steps": 50}, ["optimizer.warmup_steps"]),
        ({"precision": "64-true"}, ["precision"]),
        ({"architecture.version": 2}, ["architecture.version"]),
        ({"task.config.n_nonzero": 4}, ["task.config.n_nonzero"]),
        ({"protocol.max_steps": 6000, "status": "interrupted"}, ["protocol.max_steps"]),
        ({"protocol.tokens_per_step": 1024, "tokens": 3000 * 1024}, ["protocol.tokens_per_step"]),
        ({"architecture.backend": "torch"}, []),
    ],
    ids=lambda x: "+".join(x) if isinstance(x, dict) else "",
)
def test_what_the_suite_decides(entry: Path, changes: dict[str, Any], fields: list[str]) -> None:
    assert set(against_suite(entry, **changes)) == set(fields)


def test_a_suite_that_leaves_the_width_open(entry: Path) -> None:
    """Any width then, with the reference's number of parameters within a tenth."""
    cells = {path.name: {"model": {"n_layers": 1}} for path in entry.glob("lm_*")}
    edit(entry / "lm_s10_n3" / "seed0", **{"architecture.config.d_model": 36})
    reference = read_record(RESULTS / "lite" / "transformer" / "lm_s10_n3" / "seed0" / "record.json")
    for share, fields in (
        (0.89, ["parameters"]),
        (0.91, []),
        (1.09, []),
        (1.11, ["parameters"]),
        (2.5, ["parameters"]),
    ):
        edit(entry / "lm_s10_n3" / "seed0", parameters=round(share * reference.parameters))
        (run,) = (run for run in runs(entry) if run.record.cell == "lm_s10_n3")
        assert [problem.field for problem in size_problems(run, reference, cells)] == fields, share


def test_names_of_parameters_follow_from_the_depth(entry: Path) -> None:
    """LRU slows down its recurrence, and nobody decays vectors: the lists differ where the suite's depth does."""
    for path in entry.glob("*/seed0"):
        depth = 2 if path.parent.name.startswith("ca_") else 1
        names = [f"blocks.{i}.A_log" for i in range(depth)]
        edit(path, **{"optimizer.no_weight_decay": names, "optimizer.lr_factors": [f"0.25 {name}" for name in names]})
    assert [*choice_problems(runs(entry), suite_cells("lite"))] == []


def test_a_cell_that_the_suite_does_not_have(entry: Path) -> None:
    (entry / "lm_s10_n3").rename(entry / "lm_easy")
    assert [p.field for run in runs(entry) for p in cell_problems(run, suite_cells("lite"))] == ["cell"]
    assert suite_cells("nothing") == {}
    assert {"lm_s8_n1", "ca_s512"} <= suite_cells("paper").keys()


def test_every_committed_entry_keeps_to_its_suite() -> None:
    for folder in sorted((RESULTS / "lite").iterdir()):
        found = runs(folder)
        assert found and [*choice_problems(found, suite_cells("lite"))] == []


@pytest.mark.process
@pytest.mark.slow
def test_a_committed_entry_ten_times_as_wide(tmp_path: Path) -> None:
    wide = tmp_path / "results" / "lite" / "mamba"
    shutil.copytree(ENTRY, wide)
    for folder in wide.glob("*/seed*"):
        edit(folder, **{"architecture.config.d_model": 10 * (64 if "ca" in folder.parent.name else 32)})
    reasons = {problem.field for problem in validate(wide, replay=False, reader=READER).problems}
    # It is a copy of what stands here, too, and no longer what was accepted.
    assert {"architecture.config.d_model", "curves", "init_hash"} <= reasons


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    environment = os.environ | {"GIT_COMMITTER_DATE": "2026-11-22 12:00:00 +0000"}
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.process
def test_what_git_knows(entry: Path, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    results = root / "leaderboard" / "results"
    shutil.copytree(entry, results / "lite" / "mamba")
    git(tmp_path, "init", "-q", "-b", "main", "checkout")
    git(root, "add", ".")
    git(root, "commit", "-qm", "x")
    found = runs(results / "lite" / "mamba")
    commit = git(root, "rev-parse", "HEAD")
    everything = {run.file for run in found}
    assert accepted(found, results, "main", tmp_path / "elsewhere") == everything
    assert accepted(found, results, None, results) == everything
    assert accepted(found, results, None, tmp_path / "elsewhere") == set()
    edited = edit(found[0].folder.path, **{"git.commit": commit})
    assert accepted(found, results, "main", results) == everything - {str(edited)}
    for run in found[1:]:
        edit(run.folder.path, **{"git.commit": commit})
    assert [*commit_problems(runs(results / "lite" / "mamba"), results, True)] == []
    edit(found[0].folder.path, **{"git.commit": "0123456789" * 4})
    edit(found[1].folder.path, started_at="2026-11-20T00:00:00Z")
    wrong = [*commit_problems(runs(results / "lite" / "mamba"), results, True)]
    assert [problem.field for problem in wrong if isinstance(problem, Problem)] == ["git.commit", "started_at"]
    notes = [*commit_problems(runs(results / "lite" / "mamba")[:1], results, False)]  # of a project of somebody else
    assert len(notes) == 1 and "the checkout does not have it" in str(notes[0])
    assert [*commit_problems(found, tmp_path, True)] == []  # no checkout
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{root}", "shallow")
    notes = [*commit_problems(runs(results / "lite" / "mamba"), tmp_path / "shallow", True)]
    assert "the checkout is shallow" in str(notes[0])


def test_without_git_the_results_that_are_there_count(entry: Path, tmp_path: Path) -> None:
    results = tmp_path / "installed" / "results"
    shutil.copytree(entry.parents[1] / "lite", results / "lite")
    found = runs(entry)
    assert accepted(found, entry, None, results) == {run.file for run in found}
    edit(found[0].folder.path, steps=1)
    assert len(accepted(found, entry, None, results)) == len(found) - 1
