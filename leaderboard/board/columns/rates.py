"""Columns of learning rates that were tried, of `tuning` and on an entry's page."""

from leaderboard.board.columns.column import Code, Table, define
from leaderboard.board.wording import number_text

TUNING = Table.TUNING

define("architecture", lambda row: Code(row.architecture), {TUNING: 1}, values={"architecture": "architecture"})
define("task", lambda row: Code(row.task), {TUNING: 2}, values={"task": "task"}, heads_row=True)
define(
    "learning rate",
    lambda row: f"{row.learning_rate:g}",
    {TUNING: 3},
    number="learning_rate",
    values={"learning_rate": "learning_rate"},
)
define(
    "solved",
    lambda row: f"{row.n_solved}/{row.n}",
    {TUNING: 4},
    number=lambda row: row.n_solved / row.n,
    values={"n_solved": "n_solved", "n": "n"},
)
define("time in budgets", lambda row: number_text(row.time, 3), {TUNING: 5}, number="time", values={"time": "time"})
define(
    "best",
    lambda row: "best, at an end of the rates tried" if row.at_end else "best" if row.best else "",
    {TUNING: 6},
    values={"best": lambda row: int(row.best), "at_end": lambda row: int(row.at_end)},
)
