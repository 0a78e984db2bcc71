"""Validation as a command, and the replay that it asks the harness for."""

import importlib.util
import json
from pathlib import Path

import pytest

from leaderboard.__main__ import main
from leaderboard.records.record import read_record
from leaderboard.validation import reproduce, validate, validator
from tests.helpers.leaderboard.entries import READER, edit


@pytest.mark.process
def test_run(results: Path, seed0: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(results), "--no_replay"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "note: not replayed, as asked",
        "2 entries, 8 records: nothing is wrong",
    ]
    monkeypatch.setattr(validator, "CurvesReader", lambda: READER)  # a process of its own has read them once
    edit(seed0, **{"git.dirty": True})
    assert main(["validate", str(results), "--no_replay"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{seed0}/record.json: git.dirty: must be false: commit the code before it is run"
    assert out[-1] == "2 entries, 8 records: 1 problems"
    assert main(["validate", str(results / "gone"), "--no_replay"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {results}/gone: no such folder")


FAKE_HARNESS = """
import pathlib, sys, time
command, path = sys.argv[1:]
assert command == "replay"
pathlib.Path(sys.argv[0]).parent.joinpath("asked").write_text(path)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print(f'x\\n{path}: agrees: 20 losses')", "record.json: replayed: agrees: 20 losses"),
        ("print('differs: loss', file=sys.stderr); sys.exit(1)", "first_losses_nats: does not replay: differs: loss"),
        ("sys.exit(2)", "first_losses_nats: could not be replayed (exit code 2): exit code 2"),
        ("time.sleep(60)", "first_losses_nats: could not be replayed within 2 seconds"),
        (
            "print(f'{path}: not registered here: no such architecture', file=sys.stderr); sys.exit(1)",
            "record.json: not replayed: not registered here: no such architecture",
        ),
        (
            "print(f'{path}: differs: x: not registered here: y', file=sys.stderr); sys.exit(1)",
            "first_losses_nats: does not replay: ",
        ),
    ],
)
def test_replay(
    results: Path, seed0: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    """The answer of the harness about the first seed of the first cell becomes a note or a problem."""
    harness = tmp_path / "harness" / "benchmark"
    harness.mkdir(parents=True)
    (harness / "__init__.py").touch()
    (harness / "__main__.py").write_text(FAKE_HARNESS + program)
    monkeypatch.setattr(reproduce, "ROOT", tmp_path / "harness")
    monkeypatch.setattr(reproduce, "TIME_LIMIT_S", 2)
    report = validate(seed0.parents[1], reader=READER)
    lines = [*map(str, report.problems), *report.notes]
    assert len(lines) == 1 and expected in lines[0]
    assert bool(report.problems) == expected.startswith("first_losses_nats")
    assert (harness / "asked").read_text() == str(seed0 / "record.json")


def test_nothing_is_replayed_that_has_problems(results: Path, seed0: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(seed0.parent / "seed1", **{"git.dirty": True})
    monkeypatch.setattr(validator, "replay_entry", lambda entry: f"replayed {entry.name}")
    report = validate(results, reader=READER)
    assert report.notes == (f"{results}/tiny/my_model: not replayed: it has problems", "replayed transformer")


def test_nothing_is_replayed_without_torch(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else name)
    assert validate(results, reader=READER).notes == ("not replayed: torch is not installed",)


def test_upgraded_field_names(seed0: Path) -> None:
    """The fixture is a valid record, so that what the rules refuse is refused by them alone."""
    assert (
        read_record(seed0 / "record.json").model_dump(mode="json").keys()
        == json.loads((seed0 / "record.json").read_text()).keys()
    )
