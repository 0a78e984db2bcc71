"""Tried learning rates by hand: which is the best, whether it lies at an end, and what the command says."""

from pathlib import Path
from typing import Any

import pytest

from leaderboard.__main__ import main
from leaderboard.records.record import Record, write_record
from leaderboard.statistics.tried_rates import tried_rates
from tests.helpers.leaderboard.records import record_fields, run_of

OPTIMIZER = record_fields()["optimizer"]
FINAL = record_fields()["final"]


def run(rate: float, status: str, seed: int, step: int = 0, **changes: Any) -> Record:
    return run_of(status, seed, step, **{"optimizer": {**OPTIMIZER, "lr": rate}, **changes})


def test_times_by_hand() -> None:
    """Budget 1,000, a grid of 50: hits at 200 and 600 lie at 175 and 575; unsolved and diverged runs take all of it."""
    records = [
        run(1e-3, "solved", 1000, 600), run(1e-3, "censored", 1001),
        run(3e-3, "solved", 1000, 200), run(3e-3, "solved", 1001, 600),
        run(1e-2, "solved", 1000, 200), run(1e-2, "diverged", 1001, 100),
        run(1e-2, "interrupted", 1002, 50),
    ]  # fmt: skip
    rows = tried_rates(records)
    assert [(row.learning_rate, row.n, row.n_solved) for row in rows] == [(1e-3, 2, 1), (3e-3, 2, 2), (1e-2, 2, 1)]
    assert [row.time for row in rows] == pytest.approx([(0.575 + 1) / 2, (0.175 + 0.575) / 2, (0.175 + 1) / 2])
    assert [(row.best, row.at_end) for row in rows] == [(False, False), (True, False), (False, False)]


def test_where_nothing_is_solved_progress_decides() -> None:
    def unsolved(rate: float, rows: float) -> Record:
        return run(rate, "censored", 1000, final={**FINAL, "step": 1000, "task_metrics": {"rows_solved": rows}})

    rows = tried_rates([unsolved(1e-3, 0.25), unsolved(3e-3, 0.5), run(1e-2, "diverged", 1000, 100)])
    assert [row.time for row in rows] == [1.0, 1.0, 1.0]
    assert [row.progress for row in rows] == [0.25, 0.5, 0.0]
    assert [row.best for row in rows] == [False, True, False]


@pytest.mark.parametrize(
    ("hits", "at_end"), [((200, 400, 600), True), ((400, 200, 600), False), ((600, 400, 200), True)]
)
def test_the_command_flags_a_best_rate_at_an_end(
    hits: tuple[int, ...], at_end: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rate, step in zip((1e-3, 3e-3, 1e-2), hits, strict=True):
        write_record(tmp_path / f"{rate}" / "record.json", run(rate, "solved", 1000, step))
    assert main(["tuning", str(tmp_path)]) == int(at_end)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4 and out.count("best, at an end of the rates tried") == int(at_end)
    best = (1e-3, 3e-3, 1e-2)[hits.index(200)]
    assert (f"transformer on lm: {best:g} is at an end" in err) == at_end
    assert main(["tuning", str(tmp_path), "--format", "csv"]) == int(at_end)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "architecture,task,learning_rate,n_solved,n,time,best,at_end"
    assert [line.split(",")[2] for line in lines if line.split(",")[6] == "1"] == [repr(best)]


def test_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path / "record.json", run(1e-3, "interrupted", 0, 100))
    assert main(["tuning", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: no record with an outcome and a learning rate in {tmp_path}\n"
