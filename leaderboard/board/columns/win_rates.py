"""Columns of `compare`: two entries in each cell. The first entry's win rate is the share of pairs of runs it wins."""

from leaderboard.board.columns.column import Code, Name, Table, define
from leaderboard.board.wording import NOTHING, interval_plot, p_text, ratio_text, win_rate_text

PAIRS = Table.PAIRS

define("task", lambda row: Code(row.task), {PAIRS: 1}, values={"task": "task"})
define("cell", lambda row: Code(row.cell), {PAIRS: 2}, values={"cell": "cell"})
define(
    "win rate",
    lambda row: win_rate_text(row.verdict.win_rate),
    {PAIRS: 3},
    number="verdict.win_rate.estimate",
    values={
        "win_rate": "verdict.win_rate.estimate",
        "win_rate_low": lambda row: row.verdict.win_rate.interval()[0],
        "win_rate_high": lambda row: row.verdict.win_rate.interval()[1],
    },
)
define("0 - 50 - 100 %", lambda row: interval_plot(row.verdict.win_rate), {PAIRS: 4}, formats=frozenset({"text"}))
define("p (Holm)", lambda row: p_text(row.verdict.p_holm), {PAIRS: 5}, values={"p_holm": "verdict.p_holm"})
define(
    "steps, first / second",
    lambda row: NOTHING if row.ratio is None else ratio_text(row.ratio),
    {PAIRS: 6},
    values={
        name: f"ratio.{end}" for name, end in (("ratio", "estimate"), ("ratio_low", "low"), ("ratio_high", "high"))
    },
)
define(
    "solved first",
    lambda row: f"{row.solved_entry}/{row.n_entry}",
    {PAIRS: 7},
    values={"solved_first": "solved_entry", "n_first": "n_entry"},
)
define(
    "solved second",
    lambda row: f"{row.solved_reference}/{row.n_reference}",
    {PAIRS: 8},
    values={"solved_second": "solved_reference", "n_second": "n_reference"},
)
define("verdict", lambda row: row.verdict.kind, {PAIRS: 9}, values={"verdict": "verdict.kind"})
define("because", lambda row: Name(row.verdict.reason), {PAIRS: 10}, formats=frozenset({"text", "markdown"}))
