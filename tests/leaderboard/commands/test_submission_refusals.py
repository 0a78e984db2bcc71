"""`python -m leaderboard submit`: every mistake is one line, and changes nothing."""

import os
from pathlib import Path
from typing import Any

import pytest

from leaderboard.records.record import read_record
from tests.helpers.leaderboard.sweeps import entry, refusal, two_cells, write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two cells with two seeds each."""
    return two_cells(tmp_path / "runs")


def test_what_is_there_is_never_replaced(runs: Path) -> None:
    folder = entry(runs).folder
    write_run(runs.parent / "again", "lm-easy", 1, "censored")
    line = refusal(lambda: entry(runs.parent / "again"), folder)
    assert line.startswith(f"{folder}/lm-easy/seed1: holds another run than {runs.parent}/again/lite/lm-easy")
    write_run(runs.parent / "slower", "lm-easy", 2, **{"optimizer.lr": 0.5})
    line = refusal(lambda: entry(runs.parent / "slower"), folder)
    assert line.startswith("two configurations in lm-easy: optimizer.lr is 0.5 in ")
    for change, said in [
        ({"title": "Other"}, "says title 'My model', --title 'Other'"),
        ({"authors": ["C"]}, "says authors ('A', 'Ö. B'), --authors ('C',)"),
        ({"paper": "https://a.b/c"}, "says paper None, --paper 'https://a.b/c'"),
        ({"tuning_trials": 3}, "says trials 0, --tuning_trials 3"),
    ]:
        write_run(runs, "lm-easy", 2)
        assert said in refusal(lambda change=change: entry(runs, **change), folder)  # type: ignore[misc]
    write_run(runs.parent / "else", "lm-easy", 2, **{"architecture.name": "other"})
    assert "says architecture 'my_model'" in refusal(lambda: entry(runs.parent / "else"), folder)


def test_the_option_that_decides(runs: Path) -> None:
    write_run(runs, suite="paper")
    assert refusal(lambda: entry(runs), runs).endswith("records of 2 suites (lite, paper): choose one with --suite")
    assert "unknown suite 'lit': did you mean lite? known are lite, paper" in refusal(
        lambda: entry(runs, suite="lit"), runs
    )
    assert entry(runs, suite="paper").folder.parent.name == "paper"
    write_run(runs, **{"architecture.name": "other"})
    line = refusal(lambda: entry(runs, suite="lite"), runs)
    assert line.endswith("records of 2 architectures (my_model, other): choose one with --architecture")
    done = entry(runs, suite="lite", architecture="other")
    assert done.cells == {"lm-easy": (0,)}
    assert read_record(done.folder / "lm-easy" / "seed0" / "record.json").architecture.name == "other"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer.lr", 0.5),
        ("architecture.config.d_model", 64),
        ("architecture.version", 2),
        ("precision", "bf16-mixed"),
        ("protocol.eval_sequences", 64),
    ],
)
def test_two_configurations_in_a_cell(field: str, value: Any, runs: Path) -> None:
    path = write_run(runs, "lm-easy", 2, **{field: value}) / "record.json"
    line = refusal(lambda: entry(runs), runs.parent)
    assert line.startswith("two configurations in lm-easy: ") and str(path) in line and "RUNS" in line
    if not field.startswith("protocol"):
        assert f"{field} is {value!r} in {path}" in line


def test_cells_may_differ_in_configuration(runs: Path) -> None:
    """A suite has a learning rate for each task."""
    write_run(runs, "ca-easy", 0, **{"optimizer.lr": 0.5})
    assert "ca-easy" in entry(runs).cells


def test_a_seed_that_is_there_twice(runs: Path) -> None:
    copy = write_run(runs / "copy", "lm-easy", 1)
    line = refusal(lambda: entry(runs), runs.parent)
    assert line.startswith("seed 1 of lm-easy is there twice") and f"{copy}/record.json" in line


def test_curves_belong_to_their_record(runs: Path) -> None:
    curves = runs / "lite" / "lm-easy" / "my_model" / "seed1" / "curves.parquet"
    curves.write_bytes(b"others")
    assert refusal(lambda: entry(runs), runs.parent).startswith(f"{curves}: is not the file that ")
    curves.unlink()
    assert refusal(lambda: entry(runs), runs.parent) == f"{curves}: cannot be read: No such file or directory"
    write_run(runs, "lm-easy", 1, curves=None, started_at=read_record(curves.parent / "record.json").started_at)
    assert "curves: is null" in refusal(lambda: entry(runs), runs.parent)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"name": "My Model"}, "--name: String should match pattern"),
        ({"name": "../x"}, "--name: String should match pattern"),
        ({"name": "con"}, "--name: is the name of a device on Windows"),
        ({"title": None}, "--title is missing: a new entry needs it"),
        ({"authors": None}, "--authors is missing"),
        ({"authors": []}, "--authors"),
        ({"authors": ["A", ""]}, "--authors: String should have at least 1 character"),
        ({"licence": None}, "--licence is missing"),
        ({"paper": "arxiv.org/abs/1"}, "--paper: String should match pattern"),
        ({"code": "javascript:alert(1)"}, "--code: String should match pattern"),
        ({"tuning_trials": None}, "--tuning_trials is missing"),
        ({"tuning_trials": -1, "tuning_note": "x", "tuning_seeds": "1"}, "--tuning_trials: Input should be greater"),
        ({"tuning_trials": 6}, "--tuning_seeds and --tuning_note are missing: trials need both"),
        (
            {"tuning_trials": 6, "tuning_note": "a\nb", "tuning_seeds": "1000"},
            "--tuning_note: holds a control character",
        ),
    ],
)
def test_mistakes_name_the_option(change: dict[str, Any], line: str, runs: Path) -> None:
    assert refusal(lambda: entry(runs, **change), runs.parent).startswith(line)


def test_nothing_to_hand_in(tmp_path: Path) -> None:
    assert refusal(lambda: entry(tmp_path / "gone"), tmp_path) == f"{tmp_path}/gone: no such file or folder"
    (tmp_path / "runs").mkdir()
    assert refusal(lambda: entry(tmp_path / "runs"), tmp_path).endswith("runs: holds no record of a suite's cell")
    write_run(tmp_path / "runs", "lm-easy", 0, "interrupted")
    assert "has an outcome" in refusal(lambda: entry(tmp_path / "runs"), tmp_path)
    write_run(tmp_path / "odd", "../../x")
    assert "'../../x' is no name of a folder" in refusal(lambda: entry(tmp_path / "odd"), tmp_path)
    write_run(tmp_path / "windows", "aux.1")
    assert "'aux.1' is no name of a folder" in refusal(lambda: entry(tmp_path / "windows"), tmp_path)


def test_a_folder_that_is_no_entry_stays(runs: Path) -> None:
    folder = runs.parent / "results" / "lite" / "mine"
    folder.mkdir(parents=True)
    assert "exists, but is no entry (it has no entry.yaml)" in refusal(lambda: entry(runs), runs.parent)
    folder.rmdir()
    os.symlink(runs, folder)
    assert "exists, but is no entry" in refusal(lambda: entry(runs), runs.parent)
