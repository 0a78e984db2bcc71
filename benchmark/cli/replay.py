"""``python -m benchmark replay RECORD``: does a run begin, or end, as its record says?"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from benchmark.config.plugins import architectures_of_file, load_plugins
from leaderboard.paths import user_path

if TYPE_CHECKING:
    from leaderboard.records.record import Record

RECORD = "record.json"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the record, how far to repeat it, and the file of an outside architecture."""
    parser.add_argument("record", metavar="RECORD", nargs="?", help="a record.json, or the folder that holds it")
    parser.add_argument("--more", action="store_true", help="also the evaluations of the steps after warm-up, twice")
    parser.add_argument("--whole", action="store_true", help="the whole run, and when it hits its targets")
    parser.add_argument(
        "--batch", action="store_true", help='read lines {"record": FILE, "depth": DEPTH}, answer each with a line'
    )
    parser.add_argument("--plugin", type=str, default="", help="Python file that registers the architecture; it is run")


def run(args: Namespace) -> int:
    """Replay and print one line; the exit code is 0 if the record agrees, 1 if it differs or cannot be replayed here.

    With --batch every request is answered by a line of JSON, and the exit code is 0.

    Raises:
        ValueError: one line, if there is no valid record or no such plugin.
    """
    from leaderboard.records.record import read_record

    if args.record is None and not args.batch:
        raise ValueError("RECORD is missing: give a record.json, or the folder that holds it")
    if args.batch + (args.record is not None) + args.more + args.whole > (1 if args.batch else 2):
        raise ValueError("--more, --whole and --batch exclude one another, and --batch takes no RECORD")
    if args.batch:
        _load(args.plugin)
        _answer([json.loads(line) for line in sys.stdin])
        return 0
    path = user_path(args.record, "RECORD")
    path = path / RECORD if path.is_dir() else path
    record = read_record(path)
    _load(args.plugin)
    depth = "whole" if args.whole else "trajectory" if args.more else "first"
    [curves] = _curves([(path, record)])
    answer = _replayed(record, depth, curves)
    print(f"{path}: {answer['said']}", file=sys.stdout if answer["agrees"] else sys.stderr)
    return 0 if answer["agrees"] else 1


def _load(plugin: str) -> None:
    load_plugins()
    if plugin:
        architectures_of_file(user_path(plugin, "--plugin"))


def _answer(requests: Sequence[Mapping[str, Any]]) -> None:
    """Print an answer to each request, in order, as soon as it is known."""
    from leaderboard.records.record import read_record

    records = [(path := Path(request["record"]), read_record(path)) for request in requests]
    for request, (_, record), curves in zip(requests, records, _curves(records), strict=True):
        print(json.dumps({**request, **_replayed(record, request["depth"], curves)}), flush=True)


def _curves(records: "Sequence[tuple[Path, Record]]") -> list[Mapping[str, Sequence[float]] | None]:
    """The columns of the curves beside each record; None where they are not there or cannot be read."""
    from leaderboard.validation.curves import CurvesReader
    from leaderboard.validation.learning_curves import Curves

    files = [path.parent / "curves.parquet" for path, _ in records]
    pairs = [(file, record) for file, (_, record) in zip(files, records, strict=True) if file.is_file()]
    there = [(file, record.curves.sha256 if record.curves else "", record) for file, record in pairs]
    read = dict(zip((file for file, _, _ in there), CurvesReader().read(there), strict=True)) if there else {}
    found = [read.get(file) for file in files]
    return [{"step": c.steps, **c.metrics} if isinstance(c, Curves) else None for c in found]


def _replayed(record: "Record", depth: str, curves: Mapping[str, Sequence[float]] | None) -> dict[str, Any]:
    """The answer: whether the record agrees, a line about it, and the hits of a run that was repeated to its end."""
    from benchmark.training.replay import Mismatch, replay

    try:
        result = replay(record, depth, curves)
    except Mismatch as problem:
        return {"agrees": False, "said": str(problem)}
    flops = "" if result.flops_per_token is None else f", {result.flops_per_token:,.0f} FLOPs per token"
    facts = f"first batch, {result.parameters:,} parameters{flops}"
    if depth == "facts":
        return {"agrees": True, "said": f"agrees: {facts}"}
    said = (
        f"agrees: first batch, {result.n_losses} losses (largest relative difference {result.difference:.1e} of"
        f" {result.tolerance:.0e} allowed, on {result.device}), {result.parameters:,} parameters{flops}"
    )
    if (trajectory := result.trajectory) is None:
        return {"agrees": True, "said": said}
    bits = "the same bits" if trajectory.same_bits else "within what two runs here differ by"
    said += f"; evaluations up to step {trajectory.until}: {bits}"
    if depth == "whole":
        hits = ", ".join(
            f"{name} {_hit(trajectory.hits[name])} ({_hit(record.hits[name].step)})" for name in record.hits
        )
        said += f"; the whole run of {trajectory.steps} steps hit here (in the record): {hits}"
    about = {"same_bits": trajectory.same_bits, "until": trajectory.until, "hits": trajectory.hits}
    return {"agrees": True, "said": said, **about}


def _hit(step: int | None) -> str:
    return "never" if step is None else str(step)
