"""`python -m leaderboard show`: one row per task cell, architecture and protocol."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from leaderboard.board.columns import Table, columns_of
from leaderboard.board.others import summarise
from leaderboard.board.standings import SummaryRow
from leaderboard.records.plain_text import shown
from leaderboard.records.record import Record
from leaderboard.records.record_files import find_records
from leaderboard.render import csv_file, latex, markdown, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a record, or a folder with records at any depth"
    )
    parser.add_argument("--format", choices=("json", "markdown", "csv", "latex"), help="default: a table for the eye")


def read_and_complain(paths: Sequence[Path]) -> tuple[list[Record], int]:
    """The records at or below the paths, each once, and the number of broken ones: these go to stderr, a line each."""
    records: dict[Path, Record] = {}  # by resolved path, so that overlapping arguments count a run once
    failures = 0
    for path in paths:
        for file, found in find_records(path):
            if isinstance(found, Record):
                records[file.resolve()] = found
            else:
                failures += 1
                print(f"broken record: {shown(str(found))}", file=sys.stderr)
    return list(records.values()), failures


def run(options: argparse.Namespace) -> int:
    """Print the table of all records at or below the paths."""
    records, failures = read_and_complain(options.paths)
    if not records:
        raise ValueError(f"no {'valid ' if failures else ''}record found in {', '.join(map(str, options.paths))}")
    rows = summarise(records)
    if options.format is None and sys.stdout.isatty():
        text.print_summaries(rows)
    else:
        formats: dict[str | None, Callable[[Sequence[SummaryRow]], str]] = {
            "json": text.summaries_json,
            "markdown": markdown.summaries,
            "csv": lambda rows: csv_file.summaries(rows).rstrip("\n"),
            "latex": lambda rows: latex.table(columns_of(Table.OTHERS, "latex"), rows),
            None: text.summaries,
        }
        print(formats[options.format](rows))
    return 1 if failures else 0
