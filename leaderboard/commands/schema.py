"""`python -m leaderboard schema`: the JSON Schema of a record."""

from __future__ import annotations

import argparse
import json

from leaderboard.entries.places import IN_CHECKOUT, ROOM
from leaderboard.records.record import json_schema
from leaderboard.writing import write_whole

SCHEMA_FILE = ROOM / "schema" / "record.v1.json"


def schema_text() -> str:
    """The exported schema, byte for byte as it stands in the file."""
    return json.dumps(json_schema(), indent=2) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--write", action="store_true", help=f"write it to {SCHEMA_FILE.name} in place of printing it")


def run(options: argparse.Namespace) -> int:
    """Print the schema, or bring the exported file up to date.

    Raises:
        ValueError: one line, if it is to be written into an installed package.
    """
    if options.write and not IN_CHECKOUT:
        raise ValueError("--write renews the file of a checkout, and this is an installed package: leave it out")
    if options.write:
        write_whole(SCHEMA_FILE, schema_text().encode())
    else:
        print(schema_text(), end="")
    return 0
