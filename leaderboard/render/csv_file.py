"""The board as leaderboard.csv: one row per suite, entry and cell, numbers unrounded.

RFC 4180 apart from line ends, which are LF. An empty field has no value; `median_step` empty with `n` above 0 means
beyond the budget. Ratios are hitting time over the reference's: 2 takes twice the steps. `status` is `measured`,
`missing` (no record of this cell) or `no outcome` (every run ended in an error or was interrupted).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from leaderboard.board.columns import Column, Table, columns_of
from leaderboard.board.standings import Board, CellRow, SummaryRow
from leaderboard.render.escape import spreadsheet_text
from leaderboard.render.text import plain_summaries


def render(board: Board) -> str:
    """The whole file. Devices are columns of their own, those that occur in the board."""
    rows = [CellRow(standing, cell) for suite in board.suites for standing in suite.standings for cell in suite.cells]
    return table(columns_of(Table.CSV), rows)


def summaries(rows: Sequence[SummaryRow]) -> str:
    """The rows of `show`, unrounded; a mapping is a column for each of its keys."""
    flat: list[dict[str, str]] = []
    for row in plain_summaries(rows):
        fields = {name: value for name, value in row.items() if not isinstance(value, dict)}
        for name, parts in row.items():
            fields |= {f"{name}_{key}": part for key, part in parts.items()} if isinstance(parts, dict) else {}
        flat.append({name: _field(value) for name, value in fields.items()})
    return _written(list(dict.fromkeys(name for fields in flat for name in fields)), flat)


def table(columns: Sequence[Column], rows: Sequence[Any]) -> str:
    """The unrounded values of these columns, a line for each row and one of names."""
    names: list[str] = []
    fields: list[dict[str, str]] = [{} for _ in rows]
    for column in columns:
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
    return _written(names, fields)


def plain_rows(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Rows of plain values under these names."""
    return _written(names, [{name: _field(row[name]) for name in names} for row in rows])


def _written(names: Sequence[str], fields: Sequence[dict[str, str]]) -> str:
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
