"""Data to download: the same rows as CSV and Parquet, and every run of the board."""

import io
from pathlib import Path

import pandas as pd
import pytest

from leaderboard.render.site.downloads import RUNS, downloads
from leaderboard.statistics.finish import finish
from tests.helpers.leaderboard.boards import small_board


def test_every_run_stands_in_both_files_with_what_win_rates_compare(tmp_path: Path) -> None:
    board = small_board(tmp_path)
    files = downloads(board)
    text = pd.read_csv(io.BytesIO(files["data/runs.csv"]))
    typed = pd.read_parquet(io.BytesIO(files["data/runs.parquet"]))
    assert list(text) == list(typed) == list(RUNS)
    records = {
        (standing.name, result.cell, record.seeds.init_seed): record
        for standing in board.suites[0].standings
        for result in standing.measured
        for record in result.records
    }
    assert len(typed) == len(text) == len(records) == 55
    for table in (text, typed):
        for row in table.to_dict("records"):
            record = records[row["entry"], row["cell"], row["seed"]]
            step, progress = finish(record) or (None, None)
            assert (None if pd.isna(row["finish_step"]) else row["finish_step"], row["progress"]) == (step, progress)
            assert row["final_loss_nats"] == pytest.approx(record.final.loss_nats if record.final else float("nan"))
            assert (row["status"], row["steps"]) == (record.status, record.steps)


def test_results_are_the_board_s_csv_file(tmp_path: Path) -> None:
    files = downloads(small_board(tmp_path))
    text = pd.read_csv(io.BytesIO(files["data/results.csv"]))
    typed = pd.read_parquet(io.BytesIO(files["data/results.parquet"]))
    assert list(text) == list(typed) and (text.isna() == typed.isna()).all(axis=None)
    for name in text:
        values = [(one, other) for one, other in zip(text[name], typed[name], strict=True) if not pd.isna(one)]
        if pd.api.types.is_numeric_dtype(text[name]):
            assert all(one == pytest.approx(other, rel=1e-15) for one, other in values), name
        else:
            assert all(str(one) == str(other) for one, other in values), name
    assert {"win_rate", "task_win_rate", "mean_win_rate", "ratio"} <= set(text)
