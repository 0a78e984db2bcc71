"""``python -m benchmark head_patch SERIES``: attention patterns after emergence in the checkpoint before it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from leaderboard.paths import user_path

if TYPE_CHECKING:
    from benchmark.language.heads.head_patch_report import HeadPatchRecord, MeasuredChoice


def add_arguments(parser: ArgumentParser) -> None:
    """Add the series, its members, the steps, and how many heads."""
    parser.add_argument(
        "series", metavar="SERIES", help="a folder of checkpoints, a YAML file, or the name of one, like polypythia"
    )
    parser.add_argument("--capability", type=str, default="repetition", help="which")
    parser.add_argument("--sizes", type=str | None, default=None, help="of the series, like 14m,70m; all by default")
    parser.add_argument("--seeds", type=str | None, default=None, help="of the series, like 1-9; all by default")
    parser.add_argument(
        "--from",
        type=NonNegativeInt | None,
        default=None,
        help="step whose patterns are taken; the first with the capability in the records by default",
    )
    parser.add_argument(
        "--into", type=NonNegativeInt | None, default=None, help="step of the model that is patched; the one before it"
    )
    parser.add_argument("--top", type=PositiveInt, default=3, help="heads of the greedy search, and of the controls")
    parser.add_argument("--draws", type=NonNegativeInt, default=60, help="most random choices of as many heads")
    parser.add_argument(
        "--with",
        type=Literal["uniform", "mean"],
        default="uniform",
        help="what an ablated head of the later model has: attention spread evenly over the past, or its mean output",
    )
    parser.add_argument("--n_prompts", type=PositiveInt, default=64, help="where both steps are named")
    parser.add_argument("--prompt_seed", type=NonNegativeInt, default=0, help="draws them")
    parser.add_argument(
        "--out", type=str | None, default=None, help="folder of records, as of capability; capabilities/NAME"
    )
    parser.add_argument("--pictures", action=ActionYesNo, default=True, help="an SVG and a PNG file for each model")
    parser.add_argument("--format", type=Literal["table", "json"], default="table", help="of what is printed")


def run(args: Namespace) -> int:
    """Patch, print and draw; the exit code is 0.

    Raises:
        ValueError: one line, if there is no such series, step or record, or heads cannot be patched.
        CannotWrite: if a file cannot be written.
    """
    from benchmark.config.signals import go_on
    from benchmark.language.checkpoint_series import load_series
    from benchmark.language.hub_files import require_transformers
    from benchmark.language.prompts import parse_capabilities

    (capability, *more) = parse_capabilities(args.capability)
    if more:
        raise ValueError(f"--capability {args.capability}: give one")
    series = load_series(args.series)
    members = series.chosen(args.sizes, args.seeds)
    require_transformers("head_patch")
    go_on("what is recorded stays, and the same command goes on")
    from benchmark.language.capability_runs import CapabilityQuestion
    from benchmark.language.heads.head_patch_report import summary_of
    from benchmark.language.heads.head_patch_runs import PatchOptions, patch_member

    out = Path("capabilities", series.name) if args.out is None else user_path(args.out, "--out")
    question = CapabilityQuestion((capability,), series.text, "many", int(args.n_prompts), int(args.prompt_seed))
    steps = [None if args[name] is None else int(args[name]) for name in ("from", "into")]
    options = PatchOptions(steps[0], steps[1], int(args.top), int(args.draws), args["with"], bool(args.pictures))
    records = []
    for member in members:
        record = patch_member(series, member, capability, question, options, out)
        records.append(record)
        if args.format == "table":
            _print(record)
    if args.format == "json":
        print(summary_of(records))
    elif len(records) > 1:
        _print_medians(records)
    return 0


def _print(record: "HeadPatchRecord") -> None:
    from rich.console import Console
    from rich.table import Table

    from benchmark.language.heads.head_patch_report import random_shares

    table = Table(
        title=f"{record.capability}, {record.size} seed {record.seed}: heads of step {record.from_step:,}"
        f" in the model of step {record.into_step:,}",
        title_justify="left",
    )
    for name in ("", "heads", "probability", "accuracy", "recovered"):
        table.add_column(name, justify="left" if name in {"", "heads"} else "right")
    table.add_row("before", "none", f"{record.probability_before:.3f}", f"{record.accuracy_before:.2f}", "")
    rows: list[tuple[str, MeasuredChoice]] = [(f"best {len(choice.heads)}", choice) for choice in record.best]
    rows.append(("matched entropy", record.matched))
    rows += [(f"layer {choice.heads[0].partition(':')[0]}", choice) for choice in record.layers]
    rows.append(("all heads", record.all_heads))
    for name, choice in rows:
        heads = "all of it" if name.startswith(("layer", "all")) else " ".join(choice.heads)
        shares = _shares(choice.recovered_probability, choice.recovered_accuracy)
        table.add_row(name, heads, f"{choice.probability:.3f}", f"{choice.accuracy:.2f}", shares)
    for name, found in random_shares(record).items():
        if record.random:
            table.add_row(name.replace("random", f"{len(record.random)} others"), "", "", "", _shares(*found.values()))
    table.add_section()
    table.add_row("after", "its own", f"{record.probability_after:.3f}", f"{record.accuracy_after:.2f}", "")
    worst = min(record.ablated_random, key=lambda choice: choice.probability, default=None)
    ablated = [("ablated", record.ablated_best)]
    ablated += [] if worst is None else [(f"worst of {len(record.ablated_random)} others", worst)]
    for name, choice in ablated:
        table.add_row(name, " ".join(choice.heads), f"{choice.probability:.3f}", f"{choice.accuracy:.2f}", "")
    Console().print(table)


def _shares(*shares: float | None) -> str:
    return " / ".join("-" if share is None else f"{100 * share:.0f} %" for share in shares)


def _print_medians(records: "list[HeadPatchRecord]") -> None:
    from rich.console import Console
    from rich.table import Table

    from benchmark.language.heads.head_patch_report import medians

    table = Table(title=f"share recovered, median of {len(records)} models", title_justify="left")
    for name in ("", "of the probability", "of the accuracy"):
        table.add_column(name, justify="right" if name else "left")
    for name, found in medians(records).items():
        table.add_row(name, *("" if share is None else f"{100 * share:.0f} %" for share in found.values()))
    Console().print(table)
