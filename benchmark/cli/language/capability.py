"""``python -m benchmark capability SERIES``: when capabilities emerge in the models of a series of checkpoints."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt

from leaderboard.paths import user_path
from leaderboard.streams import say

if TYPE_CHECKING:
    from benchmark.language.capability_record import CapabilityRecord


def add_arguments(parser: ArgumentParser) -> None:
    """Add the series, its members, the prompts, and how to search."""
    parser.add_argument(
        "series", metavar="SERIES", help="a folder of checkpoints, a YAML file, or the name of one, like polypythia"
    )
    parser.add_argument("--capabilities", type=str, default="repetition,pattern,ioi", help="which, with commas between")
    parser.add_argument("--sizes", type=str | None, default=None, help="of the series, like 14m,70m; all by default")
    parser.add_argument("--seeds", type=str | None, default=None, help="of the series, like 1-9; all by default")
    parser.add_argument(
        "--every", action="store_true", help="look at every checkpoint, as ioi needs; a bisection by default"
    )
    parser.add_argument("--prompts", type=Literal["many", "single"], default="many", help="drawn, or the single one")
    parser.add_argument("--n_prompts", type=PositiveInt, default=64, help="of each capability")
    parser.add_argument("--prompt_seed", type=NonNegativeInt, default=0, help="draws them")
    parser.add_argument(
        "--threshold", type=ClosedUnitInterval, default=0.5, help="accuracy from which on a capability is there"
    )
    parser.add_argument(
        "--out", type=str | None, default=None, help="folder of records and charts; capabilities/NAME of the series"
    )
    parser.add_argument("--dry_run", action="store_true", help="say what would be looked at, and load nothing")
    parser.add_argument("--pictures", action=ActionYesNo, default=True, help="SVG and PNG files of the charts")
    parser.add_argument("--format", type=Literal["table", "json"], default="table", help="of what is printed")


def run(args: Namespace) -> int:
    """Search, print and draw; the exit code is 0, or 1 if a model could not be searched.

    Raises:
        ValueError: one line, if there is no such series or member, or a checkpoint cannot be had.
        CannotWrite: if a file cannot be written.
    """
    from benchmark.config.signals import go_on
    from benchmark.language.capability_runs import CapabilityQuestion, FaultySeries, ModelScan, plan
    from benchmark.language.checkpoint_series import load_series
    from benchmark.language.hub_files import require_transformers
    from benchmark.language.prompts import parse_capabilities

    series = load_series(args.series)
    members = series.chosen(args.sizes, args.seeds)
    out = Path("capabilities", series.name) if args.out is None else user_path(args.out, "--out")
    if not args.threshold:
        raise ValueError("--threshold must be above 0: every model reaches 0")
    question = CapabilityQuestion(
        parse_capabilities(args.capabilities), series.text, args.prompts, int(args.n_prompts), int(args.prompt_seed),
        float(args.threshold), "every" if args.every else "bisection",
    )  # fmt: skip
    scans = [ModelScan(series, member, question, out) for member in members]
    if args.dry_run:
        _print_plan(plan(scans))
        return 0
    require_transformers("capability")
    go_on("what is recorded stays, and the same command goes on")
    records: list[CapabilityRecord] = []
    faults = 0
    for scan in scans:
        try:
            records += scan.run()
        except FaultySeries as error:
            say(f"error: {error}")
            faults += 1
    _print(records, args.format)
    if args.pictures and records:
        from benchmark.language.capability_charts import write_charts

        for path in write_charts(records, out):
            say(f"picture: {path}")
    return 1 if faults else 0


def _print_plan(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="what would be looked at", title_justify="left")
    for name in ("size", "seed", "checkpoints", "recorded", "to look at, at most"):
        table.add_column(name, justify="left" if name in {"size", "checkpoints"} else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


def _print(records: "list[CapabilityRecord]", form: str) -> None:
    from benchmark.language.capability_charts import summaries, summary_json

    if form == "json":
        print(summary_json(records))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    several = len({record.size for record in records}) > 1  # else its name only takes room
    table = Table(title="emergence in each model", title_justify="left", box=SIMPLE_HEAD)
    for name in ("size", "seed", "capability", "emerged", "probability", "accuracy", "jump")[not several :]:
        table.add_column(name, justify="left" if name in {"size", "capability", "emerged"} else "right")
    for record in records:
        table.add_row(*([record.size] * several), str(record.seed), record.capability, *_cells(record))
    console.print(table)
    found = Table(title="over the seeds", title_justify="left", box=SIMPLE_HEAD)
    for name in ("size", "capability", "emerged", "median", "95 % interval", "earliest", "latest")[not several :]:
        found.add_column(name, justify="left" if name in {"size", "capability"} else "right")
    for each in summaries(records):
        there = f"{each.n_emerged}/{each.n}" + (f" ({each.n_at_first} at first)" if each.n_at_first else "")
        low, middle, high = (_step(step) for step in (each.low, each.median_step, each.high))
        interval = f"{low} to {high or 'beyond'}" if low else ""
        found.add_row(
            *([each.size] * several), each.capability, there, middle or "beyond", interval, _step(each.first),
            _step(each.last),
        )  # fmt: skip
    console.print(found)
    line = "jump: largest rise of the probability within a tenth of the training, as a share of the last one's"
    console.print(line, highlight=False)
    if any(record.method == "bisection" for record in records):
        line = (
            "steps are those of a bisection: the first ones only where a capability comes once and stays (ioi: --every)"
        )
        console.print(line, highlight=False)


def _cells(record: "CapabilityRecord") -> list[str]:
    if record.emergence_step is None or record.previous_step is None:
        words = {"left_censored": f"at {record.first_step:,} or before", "unfinished": "unfinished"}
        look = record.look(record.first_step if record.status == "left_censored" else record.last_step)
        shown = ["", ""] if look is None else [f"{look.probability:.3f}", f"{look.accuracy:.2f}"]
        return [words.get(record.status, f"not by {record.last_step:,}"), *shown, ""]
    gone = "" if record.holds_next is not False else ", then gone"
    before, after = record.look(record.previous_step), record.look(record.emergence_step)
    assert before is not None and after is not None
    return [
        f"{record.previous_step:,} to {record.emergence_step:,}{gone}",
        f"{before.probability:.2f} to {after.probability:.2f}",
        f"{before.accuracy:.2f} to {after.accuracy:.2f}",
        "" if record.jump is None else f"{100 * record.jump:.0f} %",
    ]


def _step(step: float | None) -> str:
    return "" if step is None else f"{step:,.0f}"
