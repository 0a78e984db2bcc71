"""``python -m benchmark replay RECORD``: does a run begin as its record says?"""

import sys

from jsonargparse import ArgumentParser, Namespace

from benchmark.config.plugins import architectures_of_file, load_plugins
from leaderboard.paths import user_path


def add_arguments(parser: ArgumentParser) -> None:
    """Add the record and the file of an outside architecture."""
    parser.add_argument("record", metavar="RECORD", help="a record.json, or the folder that holds it")
    parser.add_argument("--plugin", type=str, default="", help="Python file that registers the architecture; it is run")


def run(args: Namespace) -> int:
    """Replay and print one line; the exit code is 0 if the record agrees, 1 if it differs or cannot be replayed here.

    Raises:
        ValueError: one line, if there is no valid record or no such plugin.
    """
    from benchmark.training.replay import Mismatch, replay
    from leaderboard.records.record import read_record

    path = user_path(args.record, "RECORD")
    path = path / "record.json" if path.is_dir() else path
    record = read_record(path)
    load_plugins()
    if args.plugin:
        architectures_of_file(user_path(args.plugin, "--plugin"))
    try:
        result = replay(record)
    except Mismatch as problem:
        print(f"{path}: {problem}", file=sys.stderr)
        return 1
    flops = "" if result.flops_per_token is None else f", {result.flops_per_token:,.0f} FLOPs per token"
    print(
        f"{path}: agrees: first batch, {result.n_losses} losses (largest relative difference {result.difference:.1e} of"
        f" {result.tolerance:.0e} allowed, on {result.device}), {result.parameters:,} parameters{flops}"
    )
    return 0
