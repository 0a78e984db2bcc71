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
    columns_of,
    explanations,
)

__all__ = ["Code", "Column", "EntryName", "Name", "Piece", "Remark", "Table", "columns_of", "explanations"]
__all__ += ["results", "runs", "verdicts"]
