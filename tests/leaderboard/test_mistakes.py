"""Mistakes on the command line: one line, exit code 2, the nearest thing that exists."""

import subprocess
import sys
from pathlib import Path

import pytest

from leaderboard.__main__ import COMMANDS, main
from tests.helpers.leaderboard.sweeps import two_cells


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], ["show", "build"]),
        (["shwo", "x"], ["unknown command 'shwo'", "did you mean show?", "validate"]),
        (["zzz"], ["unknown command 'zzz'", "schema"]),
        (["--format", "json"], ["unknown command '--format'"]),
        (["show"], ["PATH is missing"]),
        (["show", "x", "--fromat", "json"], ["unknown option '--fromat'", "did you mean --format?"]),
        (["show", "x", "--fromat=json"], ["unknown option '--fromat'", "did you mean --format?"]),
        (["show", "x", "--format", "jsn"], ["unknown value for --format 'jsn'", "did you mean json?", "markdown"]),
        (["show", "x", "--format"], ["--format", "expected one argument"]),
        (["schema", "extra"], ["no place for 'extra'", "schema --help"]),
        (["check", "--seeds", "few"], ["--seeds", "few"]),
        (
            ["submit", "x", "--name", "y", "--tuning_trails", "3"],
            ["did you mean --tuning_trials?"],
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("error: ")
    assert [word for word in named if word not in line] == []


@pytest.mark.parametrize(
    ("option", "given", "right"), [("suite", "liet", "lite"), ("architecture", "my_modle", "my_model")]
)
def test_a_misspelt_suite_or_architecture(
    tmp_path: Path, option: str, given: str, right: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = two_cells(tmp_path / "runs")
    assert main(["submit", str(runs), "--name", "mine", f"--{option}", given, "--out", str(tmp_path / "out")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"unknown {option} '{given}': did you mean {right}?" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert f"usage: python -m leaderboard {name}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert f"  {name} " in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from leaderboard.commands import schema

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(schema, "SCHEMA_FILE", tmp_path / "file" / "record.json")
    assert main(["schema", "--write"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(tmp_path / "file") in line


@pytest.mark.process
def test_the_exit_code_of_the_program(repository: Path) -> None:
    command = [sys.executable, "-m", "leaderboard", "biuld"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown command 'biuld': did you mean build?")
    assert done.stderr.count("\n") == 1
