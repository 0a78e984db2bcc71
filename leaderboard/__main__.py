"""Command line: `python -m leaderboard show | build | check | validate | submit | schema`.

Exit codes: 0 all well; 1 done, but something is broken or refused; 2 nothing could be done. `check` has its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from leaderboard import build, check, submission, table
from leaderboard.record import Record, json_schema
from leaderboard.record_files import find_records
from leaderboard.validation import command as validation

SCHEMA_FILE = Path(__file__).parent / "schema" / "record.v1.json"


def schema_text() -> str:
    """The exported schema, byte for byte as it stands in the file."""
    return json.dumps(json_schema(), indent=2) + "\n"


def show(paths: Sequence[str], output: str | None) -> int:
    """Print the table of all records at or below `paths`; problems go to stderr, one line each."""
    records: dict[Path, Record] = {}  # by resolved path, so that overlapping arguments count a run once
    failures = 0
    for path in paths:
        for file, found in find_records(path):
            if isinstance(found, Record):
                records[file.resolve()] = found
            else:
                failures += 1
                print(f"broken record: {found}", file=sys.stderr)
    if not records:
        raise ValueError(f"no {'valid ' if failures else ''}record found in {', '.join(paths)}")
    rows = table.summarise(records.values())
    if output is None and sys.stdout.isatty():
        table.print_rich(rows)
    else:
        write = {"json": table.to_json, "markdown": table.to_markdown, None: table.to_text}[output]
        print(write(rows))
    return 1 if failures else 0


def schema(write: bool) -> int:
    """Print the JSON Schema of a record, or bring the exported file up to date."""
    if write:
        SCHEMA_FILE.parent.mkdir(exist_ok=True)
        SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    else:
        print(schema_text(), end="")
    return 0


def run(options: argparse.Namespace) -> int:
    """Run the command that the options name."""
    match options.command:
        case "show":
            return show(options.paths, options.format)
        case "schema":
            return schema(options.write)
        case "build":
            return build.run(options)
        case "validate":
            return validation.run(options.path, options.base, not options.no_replay)
        case "submit":
            return submission.run(options)
        case _:
            return check.run(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard", description="Read and compare records of runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("show", help="one row per task cell, architecture and protocol")
    command.add_argument(
        "paths", nargs="+", metavar="PATH", help="a record, or a folder that holds records at any depth"
    )
    command.add_argument("--format", choices=("json", "markdown"), help="default: a table for the eye")
    command = commands.add_parser("schema", help="JSON Schema of a record")
    command.add_argument("--write", action="store_true", help=f"write it to {SCHEMA_FILE.name} in place of printing it")
    build.add_arguments(commands.add_parser("build", help="write the table, the figures and the site"))
    check.add_arguments(commands.add_parser("check", help="new records against committed ones: a verdict for CI"))
    submission.add_arguments(commands.add_parser("submit", help="gather a sweep's records into an entry"))
    validation.add_arguments(commands.add_parser("validate", help="check entries before anyone believes them"))
    options = parser.parse_args(arguments)
    try:
        code = run(options)
        sys.stdout.flush()
        return code
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (`| head`) has seen enough; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
