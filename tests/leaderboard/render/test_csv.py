"""leaderboard.csv read back by two readers, the standard library's and pandas, against the board's own numbers."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaderboard.board.standings import Board
from leaderboard.render import csv_file
from leaderboard.render.escape import spreadsheet_text
from tests.helpers.leaderboard.boards import CELLS, small_board, suite_of, suite_records
from tests.helpers.leaderboard.records import run_of

COMPARED = (
    "n",
    "n_solved",
    "solved_low_95",
    "solved_high_95",
    "median_step",
    "median_low_95_step",
    "median_high_95_step",
    "restricted_mean_step",
    "rank",
    "learning_rate",
    "parameters",
    "flops_per_token",
    "state_bytes",
)


def rows(board: Board) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_file.render(board), newline="")))


def number(text: str) -> float | None:
    return float(text) if text else None


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return small_board(tmp_path_factory.mktemp("runs"))


def test_every_suite_entry_and_cell_has_a_row(board: Board) -> None:
    [suite] = board.suites
    read = rows(board)
    assert [(row["suite"], row["entry"], row["cell"]) for row in read] == [
        ("lite", standing.name, cell.name) for standing in suite.standings for cell in suite.cells
    ]
    [missing] = [row for row in read if row["status"] == "missing"]
    assert (missing["entry"], missing["cell"], missing["budget_steps"]) == ("rwkv", "lm_s8_n4", "1000")
    assert {value for name, value in missing.items() if list(missing).index(name) > list(missing).index("status")} == {
        ""
    }
    assert {row["status"] for row in read} == {"measured", "missing"}


def test_numbers_are_unrounded(board: Board) -> None:
    """Every number comes back bit for bit."""
    read = iter(rows(board))
    for standing in board.suites[0].standings:
        for cell in board.suites[0].cells:
            row, result = next(read), standing.results[cell.name]
            assert number(row["suite_rank"]) == standing.rank
            assert number(row["mean_win_rate"]) == standing.overall
            verdict = standing.task("lm")
            assert number(row["task_win_rate"]) == (verdict and verdict.win_rate.estimate)
            assert row["task_win_rate_verdict"] == ("" if verdict is None else verdict.kind)
            if result is None:
                continue
            seen = {name: number(row[name]) for name in COMPARED}
            assert seen == {
                "n": result.n,
                "n_solved": result.n_solved,
                "solved_low_95": result.solved_low,
                "solved_high_95": result.solved_high,
                "median_step": result.median.step,
                "median_low_95_step": result.median.low,
                "median_high_95_step": result.median.high,
                "restricted_mean_step": result.restricted_mean_step,
                "rank": result.rank,
                "learning_rate": 1e-3,
                "parameters": 202754,
                "flops_per_token": 1.2e6,
                "state_bytes": None,
            }
            assert number(row["tokens_per_s_cpu"]) == 65000
            assert [int(row[f"runs_{s}"]) for s in ("solved", "censored")] == [result.n_solved, 5 - result.n_solved]


def test_pandas_reads_it(board: Board) -> None:
    table = pd.read_csv(io.StringIO(csv_file.render(board)))
    assert len(table) == 3 * len(CELLS)
    assert table["solved_low_95"].dropna().between(0, 1).all()
    # pandas reads decimals by its own rule, not always to the nearest float as Python does.
    mamba = table[table["entry"] == "mamba"]
    assert mamba["win_rate"].mean() == pytest.approx(mamba["task_win_rate"].iloc[0], rel=1e-12)
    assert (mamba["win_rate_low_95"] < mamba["win_rate"]).all() and (mamba["p_holm"] >= mamba["win_rate_p"]).all()
    assert (table["n"].fillna(5) == 5).all()


def test_a_cell_without_an_outcome(tmp_path: Path) -> None:
    runs = {"transformer": [run_of("solved", 0, 100)], "mamba": [run_of("error", 0, 50), run_of("interrupted", 1, 50)]}
    read = {row["entry"]: row for row in rows(Board((suite_of("lite", runs, tmp_path),), ()))}
    mamba = read["mamba"]
    assert (mamba["status"], mamba["n"], mamba["median_step"]) == ("no outcome", "0", "")
    assert (mamba["runs_error"], mamba["runs_interrupted"], mamba["runs_solved"]) == ("1", "1", "0")
    assert (read["transformer"]["median_step"], read["transformer"]["runs_error"]) == ("100.0", "0")


def test_devices_are_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cuda: dict[str, Any] = {"hardware.device": "cuda", "tokens_per_s": 1e6 / 3}
    runs = {
        "transformer": suite_records("transformer", CELLS[:1], [0], rng),
        "mamba": suite_records("mamba", CELLS[:1], [0], rng, **cuda),
    }
    speeds = [
        (row["tokens_per_s_cpu"], row["tokens_per_s_cuda"])
        for row in rows(Board((suite_of("lite", runs, tmp_path),), ()))
    ]
    assert speeds == [("65000.0", ""), ("", repr(1e6 / 3))]


def test_an_empty_board_has_its_header() -> None:
    [header] = csv_file.render(Board((), ())).splitlines()
    assert header.split(",")[:2] == ["suite", "entry"]
    assert "tokens_per_s_" not in header


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_formulas_are_text(start: str) -> None:
    assert spreadsheet_text(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"
    assert spreadsheet_text(f"x{start}") == f"x{start}"


@pytest.mark.parametrize(
    "title", ['=HYPERLINK("https://e.com";"x")', "@SUM(1,2)", '-1,"2"', "+1\u2028;x", "\t=1", "a,b\n\"c\"\r\n'd'"]
)
def test_untrusted_text(title: str, board: Board) -> None:
    """A title stays one field, and no spreadsheet computes it."""
    [suite] = board.suites
    standing = replace(suite.standings[0], title=title)
    text = csv_file.render(Board((replace(suite, standings=(standing,)),), ()))
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(read) == len(CELLS)
    for row in read:
        assert row["title"].removeprefix("'") == title
        assert not row["title"].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert None not in row
    assert text.replace(title.replace('"', '""'), "").count("\r") == 0
    assert text.endswith("\n")
