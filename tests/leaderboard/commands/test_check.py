"""`python -m leaderboard check`: exit codes, tables, and the claims it makes on the same and on slowed runs."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from leaderboard.__main__ import main
from leaderboard.records.record import write_record
from tests.helpers.leaderboard.boards import CELLS, suite_records
from tests.helpers.leaderboard.records import START
from tests.leaderboard.entries.test_reading import ENTRY

LATER: dict[str, Any] = {"started_at": START + timedelta(days=1), "ended_at": START + timedelta(days=2)}


def sweep(root: Path, name: str, seeds: range, slowness: float = 1.0, **changes: Any) -> Path:
    """A sweep's folder: no entry.yaml."""
    rng = np.random.default_rng([seeds.start, len(name)])
    for record in suite_records(name, CELLS, seeds, rng, slowness=slowness, **changes):
        write_record(root / "lite" / str(record.cell) / name / f"seed{record.seeds.data_seed}" / "record.json", record)
    return root


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with the reference transformer, 20 seeds, and mamba, 10 seeds of twice its steps."""
    root = tmp_path_factory.mktemp("results")
    sweep(root, "transformer", range(20))
    return sweep(root, "mamba", range(10), 2.0)


def check(*arguments: object) -> int:
    return main(["check", *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slowness", "verdict", "code"), [(1.0, "same", 0), (0.3, "better", 10), (3.0, "regressed", 12)]
)
def test_verdicts_have_exit_codes(
    board: Path, tmp_path: Path, slowness: float, verdict: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    new = sweep(tmp_path, "transformer", range(100, 120), slowness, **LATER)
    assert check(new, "--against", board) == code
    first, task, blank, header, *rows = capsys.readouterr().out.splitlines()
    assert first == f"lite/transformer against transformer: {verdict}" and blank == ""
    assert task.startswith(f"lm: {verdict.replace('regressed', 'worse')}: win rate ")
    assert header.split()[:2] == ["task", "cell"]
    assert [row.split()[1] for row in rows] == sorted(cell.name for cell in CELLS)


def test_cells_that_contradict_each_other_are_mixed(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quarter of the steps in two cells, four times as many in the others: 14, and no refusal by the gate."""
    sweep(tmp_path, "transformer", range(100, 120), 0.25, **LATER)
    slow = sweep(tmp_path / "slow", "transformer", range(100, 120), 4.0, **LATER)
    for cell in ("lm_s8_n4", "lm_s16_n2"):
        shutil.rmtree(tmp_path / "lite" / cell)
        shutil.move(slow / "lite" / cell, tmp_path / "lite" / cell)
    shutil.rmtree(slow)
    assert check(tmp_path, "--against", board) == 14
    assert "against transformer: mixed\nlm: mixed: " in capsys.readouterr().out
    assert check(tmp_path, "--against", board, "--gate") == 0


def test_too_few_seeds_and_another_protocol(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = sweep(tmp_path / "few", "transformer", range(100, 102), **LATER)
    assert check(few, "--against", board) == 11
    assert "needs-seeds; 5 seeds per cell would probably decide\nlm: needs-seeds: win rate" in capsys.readouterr().out
    other = sweep(tmp_path / "other", "transformer", range(100, 105), **{**LATER, "protocol.tokens_per_step": 4096})
    assert check(other, "--against", board) == 13
    assert "tokens_per_step is 4096, the reference has 8192" in capsys.readouterr().out


def test_no_reference_at_all(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = sweep(tmp_path, "transformer", range(5), suite="lite")
    other = sweep(tmp_path / "other", "xlstm", range(5))
    assert check(new, "--against", other) == 13
    assert "suite lite has no entry transformer to compare with" in capsys.readouterr().out


@pytest.mark.slow
def test_halves_of_the_reference_are_the_same(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An A/A comparison over many draws: never a claim that one half is slower or faster but by accident."""
    codes = []
    for draw in range(8):
        first = sweep(tmp_path / f"{draw}a", "transformer", range(200 * draw, 200 * draw + 10))
        second = sweep(tmp_path / f"{draw}b", "transformer", range(200 * draw + 100, 200 * draw + 110), **LATER)
        codes.append(check(second, "--against", first))
    assert set(codes) <= {0, 11, 14} and codes.count(14) <= 2


@pytest.mark.slow
def test_a_new_architecture_is_held_against_the_transformer(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the gate does not call a slow one a regression; one that is slower than it was it does."""
    new = sweep(tmp_path / "new", "xlstm", range(5), 3.0)
    assert check(new, "--against", board) == 12
    assert "lite/xlstm against transformer: regressed" in capsys.readouterr().out
    assert check(new, "--against", board, "--gate") == 0
    slower = sweep(tmp_path / "slower", "mamba", range(100, 110), 6.0, **LATER)
    assert check(slower, "--against", board, "--gate") == 12
    assert "lite/mamba against mamba: regressed" in capsys.readouterr().out
    assert check(slower, "--against", board, "--reference", "transformer", "--gate") == 0
    other = sweep(tmp_path / "other", "xlstm", range(5), **{"protocol.tokens_per_step": 4096})
    assert check(other, "--against", board, "--gate") == 13


@pytest.mark.slow
def test_the_worst_of_several_decides(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = sweep(tmp_path / "same", "transformer", range(100, 110), **LATER)
    slow = sweep(tmp_path / "slow", "mamba", range(100, 110), 8.0, **LATER)
    assert check(same, slow, "--against", board) == 12
    assert capsys.readouterr().out.count(" against ") == 2


def test_records_that_are_there_already_are_not_new(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(board, "--against", board) == 0
    assert capsys.readouterr().out == f"nothing new: every record is in {board} already\n"


@pytest.mark.slow
def test_an_entry_among_the_results_is_held_against_the_others(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `submit` leaves it: asked about by its folder it is new, whatever lies beside it."""
    results = tmp_path / "results"
    shutil.copytree(board, results)
    entry = sweep(results / "entry", "xlstm", range(5), 0.2)
    (entry / "entry.yaml").write_text(yaml.safe_dump({**ENTRY, "name": "mine", "architecture": "xlstm"}))
    assert check(entry, "--against", results) == 10
    assert capsys.readouterr().out.startswith("lite/mine against transformer: better\n")


def test_markdown_shows_names_as_text(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = sweep(tmp_path, "<img src=x>|*b*", range(5), 0.2)
    assert check(new, "--against", board, "--format", "markdown") == 10
    out = capsys.readouterr().out
    assert "<img" not in out and "*b*" not in out.replace("\\*", "")
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(CELLS)
    assert {line.count("|") for line in table} == {10}


def test_json(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = sweep(tmp_path, "xlstm", range(5), 100.0)
    check(new, "--against", board, "--format", "json")
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["against"], found["verdict"]) == ("xlstm", "transformer", "regressed")
    assert found["tasks"]["lm"]["verdict"] == "worse" and found["tasks"]["lm"]["p"] < 0.01
    assert len(found["cells"]) == len(CELLS)


def test_an_entry_with_a_file(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name is the entry's, not the architecture's."""
    new = sweep(tmp_path / "mine", "xlstm", range(5), 0.2)
    (tmp_path / "mine" / "entry.yaml").write_text(yaml.safe_dump({**ENTRY, "name": "mine", "architecture": "xlstm"}))
    assert check(new, "--against", board) == 10
    assert capsys.readouterr().out.startswith("lite/mine against transformer: better")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which new records? Give one or more folders: python -m leaderboard check NEW..."),
        (["none"], "none: no such file or folder"),
        (["{new}", "--against", "none"], "none: no such file or folder"),
        (
            ["{new}", "--reference", "nobody"],
            "{board}: unknown entry 'nobody': known are mamba, transformer",
        ),
        (["{empty}"], "{empty}: no record that belongs to a cell of a suite"),
        (["--simulate", "--sigma", "-1"], "sigma must be positive, got -1.0"),
        (["--simulate", "--runs", "0"], "the number of comparisons must be positive, got 0"),
    ],
)
def test_mistakes_are_one_line(
    board: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"new": sweep(tmp_path / "new", "xlstm", range(1)), "board": board, "empty": tmp_path / "empty"}
    (tmp_path / "empty").mkdir()
    given = [argument.format(**names) for argument in arguments]
    if "--against" not in given and given[:1] != ["--simulate"]:
        given += ["--against", str(board)]
    assert check(*given) == 2
    assert capsys.readouterr().err == f"error: {message.format(**names)}\n"


def test_a_broken_record_is_named(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "record.json").write_text("{")
    assert check(tmp_path, "--against", board) == 2
    assert capsys.readouterr().err.startswith(f"error: broken record: {tmp_path}/record.json: ")


def test_simulate_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--simulate", "--runs", 50, "--ratio", 1, 4) == 0
    *_, equal, slower = capsys.readouterr().out.splitlines()
    assert equal.startswith("| 1 | 0.0 % |")  # five seeds are never called the same
    assert slower == "| 4 | 0.0 % | 0.0 % | 0.0 % | 0.0 % | 100.0 % |"


@pytest.mark.process
def test_it_answers_without_the_heavy_libraries(board: Path, tmp_path: Path, repository: Path) -> None:
    new = sweep(tmp_path, "xlstm", range(5))
    code = (
        "import sys; from leaderboard.__main__ import main\n"
        f"main(['check', {str(new)!r}, '--against', {str(board)!r}])\n"
        "print(sorted({'torch', 'scipy.stats', 'pandas', 'pyarrow', 'altair'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
