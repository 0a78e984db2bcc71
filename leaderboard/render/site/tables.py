"""Tables: whole and readable as they stand, and made sortable and filterable by itables' DataTables.

`itables.to_html_datatable` itself is not used: it keeps the rows in a script, so that without one there is no table,
and knows neither the caption's place, nor row headers, nor a number to sort by that differs from the text. Its bundle
takes a table as it finds it (`assets/site.js`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.render.site.html import text

LAST = 1e300  # sorts after every number: JavaScript has no order for what is missing


@dataclass(frozen=True)
class Column:
    """A column: its title and whether it holds numbers, which are set to the right and sort as numbers."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell: HTML, and what it sorts by (a number in a numeric column; None there: last)."""

    html: str
    order: float | str | None = None


def table(
    table_id: str,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    header: int = 0,
    page_length: int = 25,
    filtered: bool = False,
) -> str:
    """A table in a box of its own that scrolls sideways where the screen is narrow.

    Args:
        table_id: an id, unique on its page.
        caption: plain text.
        header: the column whose cells name their rows.
        page_length: rows shown at once, where scripts run.
        filtered: has a filter however few its rows are.
    """
    heads = "".join(f'<th scope="col"{_class(column)}>{text(column.title)}</th>' for column in columns)
    body = "\n".join(f"<tr>{_row(columns, row, header)}</tr>" for row in rows)
    filter_ = ' data-filter="1"' if filtered else ""
    return (
        f'<div class="table-box" role="region" tabindex="0" aria-label="{text(caption)}">'
        f'<table id="{text(table_id)}" class="data" data-rows="{page_length}"{filter_}>'
        f"<caption>{text(caption)}</caption><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(columns: Sequence[Column], row: Sequence[Cell], header: int) -> str:
    parts = []
    for position, (column, cell) in enumerate(zip(columns, row, strict=True)):
        order = ""
        if column.numeric or cell.order is not None:
            order = f' data-order="{text(LAST if cell.order is None else cell.order)}"'
        tag, scope = ("th", ' scope="row"') if position == header else ("td", "")
        parts.append(f"<{tag}{scope}{_class(column)}{order}>{cell.html}</{tag}>")
    return "".join(parts)


def _class(column: Column) -> str:
    return ' class="n"' if column.numeric else ""
