"""``python -m benchmark fork RUN --at STEP``: the same run from a step on, with one cause changed."""

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

from benchmark.config.plugins import load_plugins
from leaderboard.paths import user_path

if TYPE_CHECKING:
    from benchmark.interventions.forking import Change, Parent
    from leaderboard.records.record import Record


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run, the step, what to change, and how many twins."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a run of one seed, made with --keep_resumable")
    parser.add_argument("--at", type=NonNegativeInt, required=True, help="step of a whole checkpoint")
    parser.add_argument("--data_seed", type=NonNegativeInt | None, default=None, help="of the sequences from there on")
    parser.add_argument("--fresh_optimizer", action="store_true", help="without the moments of AdamW")
    parser.add_argument(
        "--reset_head", type=str, action="append", help="LAYER:HEAD, to its initial weights; may be repeated"
    )
    parser.add_argument(
        "--twins",
        type=str | None,
        default=None,
        help="forks with and without the change: how many data seeds, or which, like 11-15",
    )
    parser.add_argument("--out", type=str, default="forks", help="folder of all forks")
    parser.add_argument("--format", type=Literal["text", "json"], default="text", help="of the comparison of twins")
    parser.add_argument("--trust", action="store_true", help="import whatever classes its config.yaml names")


def run(args: Namespace) -> int:
    """Train the fork, or all twins and compare them; a call that was cut short goes on where it was.

    The exit code of a fork is that of ``fit``. Of twins it is 0 when all have ended.

    Raises:
        ValueError: one line, if there is no such run or checkpoint, or a change that cannot be made.
    """
    load_plugins()
    from benchmark.interventions.forking import Change, Parent, parse_twins

    parent = Parent(user_path(args.run_folder, "RUN"), int(args.at), trust=args.trust)
    out = str(user_path(args.out, "--out"))
    heads = parent.parsed_heads(args.reset_head or [])
    if args.twins is None:
        seed = None if args.data_seed is None else int(args.data_seed)
        code, _ = _trained(parent, Change(seed, args.fresh_optimizer, heads), out, args.trust)
        return code
    if args.data_seed is not None:
        raise ValueError("--twins names the data seeds: leave out --data_seed")
    solved = parent.record.primary_step
    if solved is not None and solved <= parent.step:
        raise ValueError(
            f"{parent.folder}: had solved its task at step {solved}: only from an earlier step can twins differ"
        )
    seeds = parse_twins(args.twins, parent.record.seeds.data_seed)
    changes: dict[str, list[Change]] = {"untouched": [Change(seed) for seed in seeds]}
    if args.fresh_optimizer or heads:
        changes["changed"] = [Change(seed, args.fresh_optimizer, heads) for seed in seeds]
    records: dict[str, list[Record]] = {}
    for arm, of_arm in changes.items():
        for change in of_arm:
            code, record = _trained(parent, change, out, args.trust, quietly=args.format == "json")
            if record is None:
                return code
            records.setdefault(arm, []).append(record)
    _print(records, args.format)
    return 0


def _trained(
    parent: "Parent", change: "Change", out: str, trust: bool, quietly: bool = False
) -> "tuple[int, Record | None]":
    """Exit code and record of a fork, trained to its end; no record if it was cut short."""
    from benchmark.training.display.summary import resume_and_print
    from benchmark.training.folder.layout import finished_record

    folder: Path = parent.folder_of(change, out)
    code = 0
    if finished_record(folder) is None:
        with redirect_stdout(sys.stderr) if quietly else nullcontext():  # what is printed at the end is JSON alone
            code = resume_and_print(folder, trust=trust)
    else:
        print(f"{folder}: has ended", file=sys.stderr if quietly else None)
    return code, finished_record(folder)


def _print(records: "dict[str, list[Record]]", form: str) -> None:
    from leaderboard.board.others import statistics_of
    from leaderboard.board.wording import median_text, ratio_text, solved_text, win_rate_text
    from leaderboard.render import comparison_data
    from leaderboard.statistics.head_to_head import head_to_head

    found = None
    if "changed" in records:
        found = head_to_head({"twins": records["changed"]}, {"twins": records["untouched"]})
    if form == "json":
        data: dict[str, Any] = {
            arm: [{"data_seed": r.seeds.data_seed, "status": r.status, "step": r.primary_step} for r in of_arm]
            for arm, of_arm in records.items()
        }
        print(json.dumps({**data, "compared": None if found is None else comparison_data.plain(found)}, indent=2))
        return
    for arm, of_arm in records.items():
        seen = statistics_of(of_arm)
        steps = ", ".join("never" if r.primary_step is None else f"{r.primary_step:,}" for r in of_arm)
        print(f"{arm}: solved {solved_text(seen)}, median step {median_text(seen.median, seen.budget)}: {steps}")
    if found is not None:
        [cell] = found.cells
        [task] = found.tasks.values()
        print(f"changed against untouched: win rate {win_rate_text(task.win_rate)} ({task.kind}: {task.reason})")
        print(f"time to solve, changed over untouched: {ratio_text(cell.ratio)}")
