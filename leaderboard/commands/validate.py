"""`python -m leaderboard validate`: the problems of entries, one per line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from leaderboard.records.plain_text import shown
from leaderboard.validation import validate
from leaderboard.validation.report import MAX_SHOWN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("path", type=Path, metavar="PATH", help="an entry's folder, or any folder of results above it")
    parser.add_argument("--base", metavar="REF", help="commit whose results must all be here still, e.g. origin/main")
    parser.add_argument("--no_replay", action="store_true", help="do not repeat the first steps of runs")
    parser.add_argument("--rerun", metavar="N", type=_count, default=0, help="do N whole runs again, drawn at random")
    parser.add_argument("--draw", metavar="SEED", type=_count, help="seed of the draws, to repeat a validation")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Print the problems, one per line, then notes and a summary.

    Returns:
        Exit code: 0 nothing is wrong, 1 something is, 2 it could not be checked.
    """
    try:
        if options.rerun and options.no_replay:
            raise ValueError("--rerun and --no_replay exclude each other")
        report = validate(options.path, options.base, not options.no_replay, rerun=options.rerun, draw=options.draw)
    except ValueError as error:
        print(f"error: {shown(str(error), MAX_SHOWN)}", file=sys.stderr)
        return 2
    for problem in report.problems:
        print(problem)
    for note in report.notes:
        print(f"note: {shown(note, MAX_SHOWN)}")
    counts = f"{len(report.entries):,} entries, {report.n_records:,} records"
    print(f"{counts}: {f'{len(report.problems):,} problems' if report.problems else 'nothing is wrong'}")
    return 1 if report.problems else 0
