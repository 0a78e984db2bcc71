"""The columns of every table, one definition each: `results` of entries, `verdicts` of `check`, `runs` of an entry.

A file in this folder is imported by that alone, so a column of yours needs no line here.
"""

from importlib import import_module
from pkgutil import iter_modules

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

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
