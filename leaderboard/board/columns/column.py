"""A column of the board's tables, and the register of all of them.

A column is defined once: its title, the text of a row, the number that it sorts by, its unrounded values for the CSV
file, an explanation, and the tables it belongs to with its place in each. Text, Markdown, CSV and HTML are made of the
same columns, so a new one is one definition in this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from leaderboard.board.standings import Standing
from leaderboard.board.wording import number_text


class Table(Enum):
    """The tables, and what a row of each is."""

    HEADLINE = "the entries of a suite: Standing"
    FACTS = "facts of an entry, on its page: Standing"
    CELL = "the entries in a cell: CellRow"
    RESULTS = "an entry in its cells, on its page: CellRow"
    CSV = "every entry in every cell: CellRow"
    OTHERS = "records by task, architecture and protocol: SummaryRow"
    RUNS = "the runs of an entry, on its page: RunRow"
    PAIRS = "two entries, by cell: ComparedCell"
    TUNING = "learning rates that were tried: TriedRate"


class Name(str):
    """Untrusted text: each format shows it as it stands."""

    __slots__ = ()


class Code(Name):
    """Untrusted text that is an identifier: in code type."""

    __slots__ = ()


class Remark(Name):
    """Untrusted text of less weight: on a line of its own where the format has lines in a cell."""

    __slots__ = ()


@dataclass(frozen=True)
class EntryName:
    """An entry's name, which each format links in its own way; `brief`: the bare name where a format has no pages."""

    standing: Standing
    brief: bool = False

    def __str__(self) -> str:
        return self.standing.name if self.brief else self.standing.title


Piece = str | EntryName  # a plain str is our own text: trusted, and typeset
Text = Piece | tuple[Piece, ...]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: in lower case.
        text: of a row, in one piece or several; None in a column of the CSV file alone.
        tables: the tables it belongs to, with its place in each; equal places are in the order of definition.
        number: the number of a row, by which it sorts, None last; a column with one is set to the right.
        order: the text that a row sorts by, where that is not the one it shows.
        values: unrounded values by name, for the CSV file. One whose name ends in `_` is a mapping, and becomes a
            column for each key that occurs: `tokens_per_s_` {"cpu": 65000.0}.
        style: CSS class of a row's text on the site.
        explanation: for the reader, with code in backticks; the same in LEADERBOARD.md and on the site.
        formats: in which it is shown.
        heads_row: its texts name the rows.
    """

    title: str
    text: Callable[[Any], Text] | None
    tables: Mapping[Table, float] = field(default_factory=dict)
    number: Callable[[Any], float | None] | None = None
    order: Callable[[Any], str] | None = None
    values: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    style: Callable[[Any], str] | None = None
    explanation: str = ""
    formats: frozenset[str] = frozenset({"text", "markdown", "html", "latex"})
    heads_row: bool = False

    @property
    def heading(self) -> str:
        """The title with a capital; a letter that is a symbol, and an untrusted title, stay as they are."""
        as_it_is = len(self.title) == 1 or isinstance(self.title, Name)
        return self.title if as_it_is else self.title[0].upper() + self.title[1:]

    def pieces(self, row: Any) -> tuple[Piece, ...]:
        """The text of a row, in pieces.

        Raises:
            ValueError: one line, if the text cannot be made or is something else than text of one line.
        """
        try:
            text = "" if self.text is None else self.text(row)
        except Exception as error:
            raise ValueError(f"column {self.title!r}: its text raised {type(error).__name__}: {error}") from error
        pieces = text if isinstance(text, tuple) else (text,)
        for piece in pieces:
            if not isinstance(piece, str | EntryName) or (type(piece) is str and "\n" in piece):
                raise ValueError(f"column {self.title!r}: its text must be a str of one line, got {piece!r}")
        return pieces

    def plain(self, row: Any) -> str:
        """The text of a row for a terminal."""
        return "".join(map(str, self.pieces(row)))


REGISTERED: list[Column] = []


def add(column: Column) -> Column:
    """Register a column in the tables it belongs to.

    Raises:
        ValueError: if it has no title or no table, or a name of its values is taken.
    """
    in_csv = column.values if Table.CSV in column.tables else {}
    taken = {name for each in REGISTERED if Table.CSV in each.tables for name in each.values}
    if not column.title or not column.tables or not all(isinstance(table, Table) for table in column.tables):
        raise ValueError(f"column {column.title!r} needs a title, and tables as {{Table.CELL: place}}")
    if twice := sorted(taken & set(in_csv)):
        raise ValueError(f"column {column.title!r}: {', '.join(twice)} is a name of another column's values")
    REGISTERED.append(column)
    return column


def define(title: str, text: Callable[[Any], Text] | None, tables: Mapping[Table, float], **more: Any) -> Column:
    """Make a column and register it; `more` are its other attributes, where a function may be a path for `read`.

    Without a text it shows its number.
    """
    more["values"] = {name: _function(value) for name, value in more.get("values", {}).items()}
    if "number" in more:
        number = more["number"] = _function(more["number"])
        text = text or (lambda row: number_text(number(row)))
    return add(Column(title, text, tables, **more))


def _function(value: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    return read(value) if isinstance(value, str) else value


def read(path: str) -> Callable[[Any], Any]:
    """A function that reads an attribute of a row, e.g. `runs.median.step`; None where one on the way is None."""
    names = path.split(".")

    def found(row: Any) -> Any:
        for name in names:
            row = None if row is None else getattr(row, name)
        return row

    return found


def columns_of(table: Table, form: str | None = None) -> list[Column]:
    """The columns of a table in their order; those that a format shows, where one is named."""
    found = [column for column in REGISTERED if table in column.tables and (form is None or form in column.formats)]
    return sorted(found, key=lambda column: column.tables[table])


def explanations() -> list[tuple[str, str]]:
    """Heading and explanation of every column that has one, in the order of definition."""
    return [(column.heading, column.explanation) for column in REGISTERED if column.explanation]
