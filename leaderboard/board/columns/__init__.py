"""The columns of every table, one definition each: `results` of entries, `win_rates` of pairs, `runs` of an entry.

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
    try:
        import_module(f"{__name__}.{_module.name}")
    except Exception as _error:  # of a file that is being written: one line, in place of a traceback from every command
        _reason = f"{type(_error).__name__}: {' '.join(str(_error).split())}"
        raise ValueError(f"{__path__[0]}/{_module.name}: cannot be imported: {_reason}") from _error
