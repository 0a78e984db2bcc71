"""Command line: `python -m leaderboard show | build | check | validate | submit | schema`.

Exit codes: 0 all well; 1 done, but something is broken or refused; 2 nothing could be done. `check` has its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from leaderboard.commands import build, check, schema, show, submit, validate

COMMANDS = {
    "show": (show, "one row per task cell, architecture and protocol"),
    "schema": (schema, "JSON Schema of a record"),
    "build": (build, "write the table, the figures and the site"),
    "check": (check, "new records against committed ones: a verdict for CI"),
    "submit": (submit, "gather a sweep's records into an entry"),
    "validate": (validate, "check entries before anyone believes them"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard", description="Read and compare records of runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (command, summary) in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=summary))
    options = parser.parse_args(arguments)
    try:
        code = COMMANDS[options.command][0].run(options)
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
