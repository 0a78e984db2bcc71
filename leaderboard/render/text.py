"""Tables for the terminal, for pipes, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from leaderboard.board.columns import Column, Table, columns_of
from leaderboard.board.standings import SummaryRow
from leaderboard.render.escape import visible

IN_THE_TITLE = {"task", "protocol", "budget", "n"}  # of a terminal's tables, one per cell
_ENDS = {"": "step", "_low": "low", "_high": "high"}
_NOT_IN_JSON = {"median", "curve", "parameters", "flops_per_token", "state_bytes", "first_date", "last_date"}


def table(columns: Sequence[Column], rows: Sequence[Any]) -> str:
    """Aligned plain text: as wide as it needs to be, nothing cut or wrapped."""
    lines = [[visible(column.title) for column in columns], *([visible(c.plain(row)) for c in columns] for row in rows)]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if column.number else text.ljust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def summaries(rows: Sequence[SummaryRow]) -> str:
    """One table of records by task, architecture and protocol."""
    return table(columns_of(Table.OTHERS, "text"), rows)


def summaries_json(rows: Sequence[SummaryRow]) -> str:
    """The rows as a JSON list of objects, unrounded."""
    return json.dumps(plain_summaries(rows), indent=2, allow_nan=False)


def plain_summaries(rows: Sequence[SummaryRow]) -> list[dict[str, Any]]:
    """The rows as dictionaries, unrounded."""
    return [
        {name: value for name, value in vars(row).items() if name not in _NOT_IN_JSON}
        | {f"median_step{end}": getattr(row.median, name) for end, name in _ENDS.items()}
        for row in rows
    ]


def print_summaries(rows: Sequence[SummaryRow]) -> None:
    """One table per cell on the terminal. Words wrap where they must, numbers do not, and nothing is cut."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = Console(highlight=False)
    if console.width < 72:  # the numbers alone would not fit
        print(summaries(rows))
        return
    columns = [column for column in columns_of(Table.OTHERS, "text") if column.title not in IN_THE_TITLE]
    for (task, protocol), members in groupby(rows, key=lambda row: (row.task, row.protocol_hash)):
        of_cell = list(members)
        title = f"[bold]{escape(visible(task))}[/]   budget {of_cell[0].budget:,} steps, protocol {protocol[:8]}"
        shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            shown.add_column(
                column.title,
                justify="right" if column.number else "left",
                overflow="fold",
                no_wrap=column.number is not None,
                min_width=len(column.title),
            )
        for row in of_cell:
            shown.add_row(*(escape(visible(column.plain(row))) for column in columns))
        console.print(title, shown, sep="\n")
    console.print("Brackets: 95 % intervals. Mean step: of min(step, budget).")
