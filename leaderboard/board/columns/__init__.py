"""The columns of every table, one definition each: `results` of entries, `verdicts` of `check`, `runs` of an entry."""

from leaderboard.board.columns import results, runs, verdicts
from leaderboard.board.columns.column import (
    Code,
    Column,
    EntryName,
    Name,
    Piece,
    Remark,
    Table,
    add,
    columns_of,
    explanations,
    plain_text,
)

__all__ = [
    "Code",
    "Column",
    "EntryName",
    "Name",
    "Piece",
    "Remark",
    "Table",
    "add",
    "columns_of",
    "explanations",
    "plain_text",
    "results",
    "runs",
    "verdicts",
]
