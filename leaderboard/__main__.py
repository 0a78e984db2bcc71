"""Command line: `python -m leaderboard show | build | check | compare | tuning | validate | submit | schema`.

Exit codes: 0 all well; 1 done, but something is broken or refused; 2 nothing could be done, for the reason in one line
on standard error; 130 after Ctrl-C, 143 after SIGTERM. `check` has its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

try:
    from leaderboard.interruption import guarded
except KeyboardInterrupt:
    sys.exit(130)

COMMANDS = {
    "show": "one row per task cell, architecture and protocol",
    "schema": "JSON Schema of a record",
    "build": "write the table, the figures and the site",
    "check": "new records against committed ones: a verdict for CI",
    "compare": "two entries: win rates, verdicts, and times cell by cell",
    "tuning": "the best learning rates, and whether those tried bracket them",
    "submit": "gather a sweep's records into an entry",
    "validate": "check entries before anyone believes them",
}
HELP = ("-h", "--help", "help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    # Nothing is imported at the top that takes a while: Ctrl-C is heard from the first moment on.
    from leaderboard.records.plain_text import shown
    from leaderboard.streams import flushed, say, secure_streams

    secure_streams()
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
        if (lost := flushed()) is None or isinstance(lost, BrokenPipeError):  # `| head` has seen enough
            return code
        reason = f"standard output: {lost.strerror}"
    except ValueError as error:
        reason = str(error)
    except OSError as error:
        cause = flushed() or error  # what has no name is standard output
        if isinstance(cause, BrokenPipeError):
            return 0
        reason = f"{os.fsdecode(cause.filename) if cause.filename else 'standard output'}: {cause.strerror or cause}"
    say(f"error: {shown(' '.join(reason.splitlines()))}")
    return 2


def _run(words: Sequence[str]) -> int:
    from leaderboard.mistakes import OneLineParser, unknown

    if not words:
        raise ValueError(f"which command? Known are {', '.join(COMMANDS)}; see python -m leaderboard --help")
    name, *rest = words
    if name in HELP:
        print("usage: python -m leaderboard COMMAND [...]\n\nRead and compare records of runs.\n")
        print("\n".join(f"  {command:10}{summary}" for command, summary in COMMANDS.items()))
        return 0
    if name not in COMMANDS:
        raise ValueError(unknown("command", name, COMMANDS))
    command, summary = import_module(f"leaderboard.commands.{name}"), COMMANDS[name]
    parser = OneLineParser(name, f"{summary[0].upper()}{summary[1:]}.")
    command.add_arguments(parser)
    code: int = command.run(parser.parse_args(rest))
    return code


if __name__ == "__main__":
    sys.exit(guarded(main))
