"""A table with notes below it, in the terminal and as a section of a Markdown page."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

N_NAMES = 2
"""Columns on the left that hold words; numbers in the others stand to the right."""


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> None:
    """Print it."""
    table = Table()
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < N_NAMES else "right")
    for line in rows:
        table.add_row(*line)
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console.width = 180
    console.print(table)
    for note in notes:
        console.print(note, highlight=False, markup=False)


def section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """The same in Markdown, under a heading of the second level."""
    lines = [header, [*["---"] * N_NAMES, *["---:"] * (len(header) - N_NAMES)], *rows]
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"## {title}", "", *table, "", *(f"- {note}" for note in notes), ""])
