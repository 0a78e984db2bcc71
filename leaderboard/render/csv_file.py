"""The board as leaderboard.csv: one row per suite, entry and cell, numbers unrounded.

RFC 4180 apart from line ends, which are LF. An empty field has no value; `median_step` empty with `n` above 0 means
beyond the budget. Ratios are hitting time over the reference's: 2 takes twice the steps. `status` is `measured`,
`missing` (no record of this cell) or `no outcome` (every run ended in an error or was interrupted).
"""

from __future__ import annotations

import csv
import io

from leaderboard.board.standings import Board, BoardCell, Result, Standing, SuiteBoard
from leaderboard.board.wording import present
from leaderboard.render.escape import spreadsheet_text
from leaderboard.statistics.time_ratio import Ratio

STATUSES = ("solved", "censored", "diverged", "error", "interrupted")
PLACE = ("suite", "entry", "title", "records", "suite_rank")
RATIO = ("ratio", "ratio_low_95", "ratio_high_95", "p")
CELL = ("cell", "task", "budget_steps", "eval_every_steps", "tokens_per_step", "target", "protocol_hash", "status")
SOLVED = ("n", "n_solved", "solved_low_95", "solved_high_95")
STEPS = ("median_step", "median_low_95_step", "median_high_95_step", "restricted_mean_step")
COST = ("rank", "parameters", "flops_per_token", "state_bytes")
DATES = ("first_date", "last_date")

Values = dict[str, str | int | float | None]


def render(board: Board) -> str:
    """The whole file. Devices are columns of their own, those that occur in the board."""
    rows = [
        _place(suite, standing) | _cell(cell) | _result(standing.results.get(cell.name))
        for suite in board.suites
        for standing in suite.standings
        for cell in suite.cells
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, header(board), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: _field(value) for column, value in row.items()} for row in rows)
    return text.getvalue()


def header(board: Board) -> list[str]:
    """The columns."""
    standings = [standing for suite in board.suites for standing in suite.standings]
    devices = sorted(
        {device for standing in standings for result in present(standing) for device in result.tokens_per_s}
    )
    suite_ratio = [f"suite_{name}" for name in RATIO]
    speeds = [f"tokens_per_s_{device}" for device in devices]
    runs = [f"runs_{status}" for status in STATUSES]
    return [*PLACE, *suite_ratio, *CELL, *SOLVED, *STEPS, *RATIO, *COST, *speeds, *runs, *DATES]


def _place(suite: SuiteBoard, standing: Standing) -> Values:
    records = "verified" if standing.verified else "self-reported"
    values = (suite.name, standing.name, standing.title, records, standing.rank)
    return {**dict(zip(PLACE, values, strict=True)), **_ratio(standing.ratio, "suite_")}


def _cell(cell: BoardCell) -> Values:
    protocol = (cell.budget, cell.eval_every, cell.tokens_per_step, cell.primary, cell.protocol_hash)
    return dict(zip(CELL, (cell.name, cell.label, *protocol, "missing"), strict=True))


def _result(result: Result | None) -> Values:
    if result is None:
        return {}
    solved = (result.n, result.n_solved, result.solved_low, result.solved_high)
    steps = (result.median.step, result.median.low, result.median.high, result.restricted_mean_step)
    cost = (result.rank, result.parameters, result.flops_per_token, result.state_bytes)
    return {
        "status": "measured" if result.n else "no outcome",
        **dict(zip(SOLVED, solved, strict=True)),
        **dict(zip(STEPS, steps, strict=True)),
        **_ratio(result.ratio),
        **dict(zip(COST, cost, strict=True)),
        **{f"tokens_per_s_{device}": value for device, value in result.tokens_per_s.items()},
        **{f"runs_{status}": result.statuses.get(status, 0) for status in STATUSES},
        **dict(zip(DATES, (result.first_date, result.last_date), strict=True)),
    }


def _ratio(ratio: Ratio | None, prefix: str = "") -> Values:
    if ratio is None:
        return {}
    values = (ratio.estimate, ratio.low, ratio.high, ratio.p)
    return {f"{prefix}{name}": value for name, value in zip(RATIO, values, strict=True)}


def _field(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return spreadsheet_text(value)
    return str(value) if isinstance(value, int) else repr(float(value))
