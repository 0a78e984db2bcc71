"""`python -m leaderboard tuning`: the best learning rates, and whether those tried bracket them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from leaderboard.board.columns import Table, columns_of
from leaderboard.records.plain_text import shown
from leaderboard.records.record import Record
from leaderboard.records.record_files import find_records
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
    """Print what each rate gave; returns 1 if a best rate lies at an end of those tried, or a record is broken."""
    records: dict[Path, Record] = {}
    failures = 0
    for path in options.paths:
        for file, found in find_records(path):
            if isinstance(found, Record):
                records[file.resolve()] = found
            else:
                failures += 1
                print(f"broken record: {shown(str(found))}", file=sys.stderr)
    rows = tried_rates(records.values())
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
