"""The board as leaderboard.csv: one row per suite, entry and cell, numbers unrounded.

RFC 4180 apart from line ends, which are LF. An empty field has no value; `median_step` empty with `n` above 0 means
beyond the budget. Ratios are hitting time over the reference's: 2 takes twice the steps. `status` is `measured`,
`missing` (no record of this cell) or `no outcome` (every run ended in an error or was interrupted).
"""

from __future__ import annotations

import csv
import io

from leaderboard.board.columns import Table, columns_of
from leaderboard.board.standings import Board, CellRow
from leaderboard.render.escape import spreadsheet_text


def render(board: Board) -> str:
    """The whole file. Devices are columns of their own, those that occur in the board."""
    rows = [CellRow(standing, cell) for suite in board.suites for standing in suite.standings for cell in suite.cells]
    names: list[str] = []
    fields: list[dict[str, str]] = [{} for _ in rows]
    for column in columns_of(Table.CSV):
        for name, read in column.values.items():
            try:
                found = [read(row) for row in rows]
            except Exception as error:
                raise ValueError(f"column {column.title!r}: {name} raised {type(error).__name__}: {error}") from error
            if name.endswith("_"):  # a mapping by key
                keys = sorted({key for values in found for key in values})
                parts = {f"{name}{key}": [values.get(key) for values in found] for key in keys}
            else:
                parts = {name: found}
            names += parts
            for part, values in parts.items():
                for row, value in zip(fields, values, strict=True):
                    row[part] = _field(value)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(fields)
    return text.getvalue()


def _field(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return spreadsheet_text(value)
    return str(value) if isinstance(value, int) else repr(float(value))
