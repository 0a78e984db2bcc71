"""`python -m leaderboard tuning`: the best learning rates, and whether those tried bracket them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from leaderboard.board.columns import Table, columns_of
from leaderboard.commands.show import read_and_complain
from leaderboard.records.plain_text import shown
from leaderboard.render import csv_file, latex, markdown, text
from leaderboard.statistics.tried_rates import tried_rates

FORMATS = ("text", "markdown", "latex", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a record, or a folder with records of several rates"
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="latex needs the package booktabs")


def run(options: argparse.Namespace) -> int:
    """Print share solved and mean time at each rate; returns 1 if a best one lies at an end, or a record is broken."""
    records, failures = read_and_complain(options.paths)
    rows = tried_rates(records)
    if not rows:
        raise ValueError(f"no record with an outcome and a learning rate in {', '.join(map(str, options.paths))}")
    columns = columns_of(Table.TUNING, options.format)
    print(
        {
            "text": lambda: text.table(columns, rows),
            "markdown": lambda: markdown.table(columns, rows),
            "latex": lambda: latex.table(columns, rows),
            "csv": lambda: csv_file.table(columns_of(Table.TUNING), rows).rstrip("\n"),
        }[options.format]()
    )
    ends = [row for row in rows if row.at_end]
    for row in ends:
        said = f"{shown(row.architecture)} on {shown(row.task)}: {row.learning_rate:g}"
        print(f"{said} is at an end of the rates tried: try the next one beyond it", file=sys.stderr)
    return 1 if ends or failures else 0
