"""Validation as a command, and the replays that it asks the harness for."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from leaderboard.__main__ import main
from leaderboard.records.record import read_record
from leaderboard.validation import reproduce, validate, validator
from leaderboard.validation.report import Report
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
    assert main(["validate", str(results), "--no_replay", "--rerun=2"]) == 2
    assert "--rerun and --no_replay" in capsys.readouterr().err
    for wrong in ("-1", "x", "1e3"):
        assert main(["validate", str(results), f"--rerun={wrong}"]) == 2
        assert "must be a whole number" in capsys.readouterr().err


HARNESS = """
import json, pathlib, sys, time
assert sys.argv[1:] == ["replay", "--batch"]
requests = [json.loads(line) for line in sys.stdin]
pathlib.Path(sys.argv[0]).parent.joinpath("asked").write_text(json.dumps(requests))
for number, request in enumerate(requests):
    depth, name = request["depth"], "/".join(pathlib.Path(request["record"]).parts[-3:-1])
    hits = json.loads(pathlib.Path(request["record"]).read_text())["hits"]
    hits = {name: hit["step"] for name, hit in hits.items()}
    answer = {"agrees": True, "said": "agrees: " + depth, "until": 200, "same_bits": False, "hits": hits}
    PROGRAM
    print(json.dumps(request | answer), flush=True)
"""


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a harness to be written."""
    folder = tmp_path / "harness" / "benchmark"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.setattr(reproduce, "ROOT", tmp_path / "harness")
    return folder / "__main__.py"


def replayed(harness: Path, path: Path, program: str = "pass", **options: Any) -> tuple[Report, list[dict[str, str]]]:
    """The report on a folder, and what the harness was asked."""
    harness.write_text(HARNESS.replace("PROGRAM", program))
    report = validate(path, reader=READER, **options)
    asked = harness.parent / "asked"
    return report, json.loads(asked.read_text()) if asked.exists() else []


@pytest.mark.process
def test_all_new_runs_are_replayed_in_one_process(results: Path, seed0: Path, harness: Path) -> None:
    """Facts of all six, losses of all six in the order of the draw, evaluations of one run in each of two cells."""
    entry = seed0.parents[1]
    report, asked = replayed(harness, entry, draw=1)
    assert report.problems == ()
    files = sorted(map(str, entry.rglob("record.json")))
    assert [request["depth"] for request in asked] == ["facts"] * 6 + ["trajectory"] * 2 + ["first"] * 4
    assert sorted(r["record"] for r in asked[:6]) == sorted(r["record"] for r in asked[6:]) == files
    assert {Path(request["record"]).parts[-3] for request in asked[6:8]} == {"lm-a", "lm-b"}
    assert report.notes[0].startswith(f"{entry}: replayed: the facts of all 6 new runs, the first losses of 6, evaluat")
    assert report.notes[1] == "runs to replay were drawn with --draw 1"
    assert replayed(harness, entry, draw=1)[1] == asked
    assert any(replayed(harness, entry, draw=draw)[1] != asked for draw in range(2, 6))


@pytest.mark.process
def test_of_accepted_runs_one_is_drawn(
    results: Path, seed0: Path, harness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator, "accepted", lambda runs, *more: {run.file for run in runs})
    report, asked = replayed(harness, results)
    assert [request["depth"] for request in asked] == ["first", "first"]
    assert [note.split(": ", 1)[1] for note in report.notes[:2]] == ["replayed: agrees: first"] * 2
    drawn = {replayed(harness, seed0.parents[1], draw=draw)[1][0]["record"] for draw in range(12)}
    assert len({Path(record).parts[-3] for record in drawn}) == 2 and len(drawn) > 3


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            "answer = {'agrees': number != 3, 'said': 'differs: parameters is 1 here and 2 in the record'}",
            "lm-b/seed0/record.json: parameters: does not replay: differs: parameters is 1 here",
        ),
        (
            "answer = {'agrees': name != 'lm-a/seed1', 'said': 'differs: loss_nats at step 25 is'}",
            "lm-a/seed1/record.json: first_losses_nats: does not replay: differs: loss_nats at step 25",
        ),
        ("sys.exit(2 if number == 7 else None) if number > 6 else 0", None),
        ("sys.exit('broken\\nby this') if number == 2 else 0", "could not be replayed (exit code 1): by this"),
        ("time.sleep(60)", "lm-a/seed0/record.json: first_losses_nats: could not be replayed within 3 seconds"),
        ("answer = {'agrees': False, 'said': 'not registered here: no such architecture'}", None),
        (
            "answer = {'agrees': False, 'said': 'differs: init_hash is' if number == 3 else 'not registered here: '}",
            "init_hash: does not replay",
        ),
        ("answer = {'agrees': False, 'said': 'differs: x: not registered here: y'}", "does not replay: differs: x"),
        ("print('a word of a plugin'); print('[1]')", None),
    ],
)
def test_answers_of_the_harness(
    seed0: Path, harness: Path, monkeypatch: pytest.MonkeyPatch, program: str, expected: str | None
) -> None:
    monkeypatch.setattr(reproduce, "START_S", 3.0)
    monkeypatch.setattr(reproduce, "RUN_S", 0.0)
    report, _ = replayed(harness, seed0.parents[1], program, draw=0)
    lines = [str(problem) for problem in report.problems]
    if expected is None:
        assert lines == []
        assert ("not replayed: not registered here" in report.notes[0]) == ("registered" in program)
        assert ("time was up for 5" in report.notes[0]) == ("exit" in program)
    else:
        assert any(expected in line for line in lines), lines
        assert len({problem.file for problem in report.problems}) == len(lines)


@pytest.mark.process
@pytest.mark.parametrize(
    ("factor", "same_bits", "refused"),
    [(1.0, False, False), (1.0, True, False), (4.0, False, True), (1.1, False, False)],
)
def test_whole_runs(seed0: Path, harness: Path, factor: float, same_bits: bool, refused: bool) -> None:
    """Four runs are drawn and their hits compared; those of the records are `factor` times too early."""
    entry = seed0.parents[1]
    later = f"{{name: step and {factor} * step for name, step in hits.items()}}"
    program = f"answer |= {{'hits': {later}, 'same_bits': {same_bits}}}"
    report, asked = replayed(harness, entry, program, rerun=4, draw=9)
    assert [request["depth"] for request in asked] == ["whole"] * 4
    assert [problem.field for problem in report.problems] == ["hits"] * refused
    if not refused:
        assert f"; {4 * same_bits} came out with the same bits" in report.notes[-1]
        assert report.notes[-1].startswith("4 whole runs, drawn with --draw 9")
        assert report.notes[-1].endswith("reruns: 4, draw: 9")


@pytest.mark.process
def test_a_whole_run_that_differs(seed0: Path, harness: Path) -> None:
    program = "answer = {'agrees': False, 'said': 'differs: loss_nats at step 75'} if number == 1 else answer"
    report, asked = replayed(harness, seed0.parents[1], program, rerun=3, draw=2)
    assert [problem.file for problem in report.problems] == [asked[1]["record"]]
    assert "does not come out again: differs: loss_nats at step 75" in report.problems[0].reason
    assert not any("verified.yaml" in note for note in report.notes)


def test_nothing_is_replayed_that_has_problems(results: Path, seed0: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(seed0.parent / "seed1", **{"git.dirty": True})
    monkeypatch.setattr(validator, "replays", lambda requests: iter([f"replayed {requests[0].entry[-11:]}"]))
    report = validate(results, reader=READER, draw=5)
    skipped = f"{results}/tiny/my_model: not replayed: it has problems"
    assert report.notes == (skipped, "replayed transformer", "runs to replay were drawn with --draw 5")


def test_nothing_is_replayed_without_torch(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else name)
    assert validate(results, reader=READER).notes == ("not replayed: torch is not installed",)


def test_upgraded_field_names(seed0: Path) -> None:
    """The fixture is a valid record, so that what the rules refuse is refused by them alone."""
    assert (
        read_record(seed0 / "record.json").model_dump(mode="json").keys()
        == json.loads((seed0 / "record.json").read_text()).keys()
    )
