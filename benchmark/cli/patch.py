"""``python -m benchmark patch RUN``: attention patterns of one kept checkpoint in another, or heads without theirs."""

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from benchmark.config.plugins import load_plugins
from leaderboard.paths import user_path

if TYPE_CHECKING:
    from benchmark.interventions.patching import Effect, Effects


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run, the steps, and what to exchange or to take away."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a run of one seed that kept checkpoints")
    parser.add_argument("--from", type=NonNegativeInt | None, default=None, help="step whose patterns are taken")
    parser.add_argument("--into", type=NonNegativeInt, required=True, help="step of the model that is changed")
    parser.add_argument("--sequences", type=PositiveInt, default=256, help="of the test set, to look at")
    parser.add_argument("--top", type=PositiveInt, default=4, help="most parts that are put in together")
    parser.add_argument(
        "--part",
        type=Literal["auto", "heads", "layers"],
        default="auto",
        help="patterns of heads, or whole mixing sublayers; heads where there are some",
    )
    parser.add_argument("--ablate", type=str, action="append", help="LAYER:HEAD, instead of --from; may be repeated")
    parser.add_argument(
        "--with", type=Literal["uniform", "mean"], default="uniform", help="what an ablated head has: attention spread"
        " evenly over the past, or its mean output",
    )  # fmt: skip
    parser.add_argument("--format", type=Literal["table", "json", "csv"], default="table", help="of what is printed")
    parser.add_argument("--trust", action="store_true", help="import whatever classes its config.yaml names")


def run(args: Namespace) -> int:
    """Measure and print; the exit code is 0.

    Raises:
        ValueError: one line, if there is no such run, step or head.
    """
    if (args["from"] is None) == (not args.ablate):
        raise ValueError("give either --from STEP, whose patterns are taken, or --ablate LAYER:HEAD")
    load_plugins()
    from benchmark.interventions.patching import ablate, exchange_layers, patch_heads
    from benchmark.interventions.subject import Subject, parse_head, run_at
    from benchmark.training.trainer import quiet

    folder = user_path(args.run_folder, "RUN")
    with quiet():
        target = Subject(run_at(folder, int(args.into), trust=args.trust), int(args.sequences))
        if args.ablate:
            name = type(target.model).__name__
            heads = [parse_head(text, "--ablate", target.heads, name) for text in dict.fromkeys(args.ablate)]
            found = ablate(target, heads, args["with"])
        else:
            source = Subject(run_at(folder, int(args["from"]), trust=args.trust), int(args.sequences))
            with_heads = args.part == "heads" or (args.part == "auto" and bool(target.heads))
            found = (patch_heads if with_heads else exchange_layers)(source, target, int(args.top))
    _print(found, args)
    return 0


def _rows(found: "Effects") -> Iterable[tuple[str, "Effect"]]:
    yield from (("alone", effect) for effect in found.alone)
    yield from (("together", effect) for effect in found.together)


def _print(found: "Effects", args: Namespace) -> None:
    about: dict[str, Any] = {
        "run": str(args.run_folder), "from": args["from"], "into": int(args.into),
        "ablated_with": args["with"] if args.ablate else None, "part": found.what, "sequences": found.n_sequences,
        "probability": found.before, "probability_of_source": found.source,
    }  # fmt: skip
    if args.format == "json":
        names = ("parts", "probability", "change", "change_by_position")
        about["from"] = None if args["from"] is None else int(args["from"])
        for how in ("alone", "together"):
            effects = [effect for kind, effect in _rows(found) if kind == how]
            about[how] = [{name: getattr(effect, name) for name in names} for effect in effects]
        print(json.dumps(about, indent=2, allow_nan=False))
    elif args.format == "csv":
        import csv

        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow(["how", f"{found.what}s", "probability", "change"])
        lines.writerows([how, " ".join(e.parts), e.probability, e.change] for how, e in _rows(found))
    else:
        _print_table(found, args)


def _print_table(found: "Effects", args: Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    what = f"{found.what}s"
    if args.ablate:
        title = f"{what} ablated at step {args.into} ({args['with']})"
    else:
        title = f"{what} of step {args['from']} in the model of step {args.into}"
    table = Table(title=title, title_justify="left")
    for column in ("", what, "probability", "change"):
        table.add_column(column, justify="right" if column in {"probability", "change"} else "left")
    table.add_row("", "none", f"{found.before:.4f}", "")
    before = None
    for how, effect in _rows(found):
        if how != before:
            table.add_section()
        table.add_row(
            "" if how == before else how, " ".join(effect.parts), f"{effect.probability:.4f}", _signed(effect)
        )
        before = how
    if found.source is not None:
        table.add_section()
        table.add_row(
            "", f"the model of step {args['from']}", f"{found.source:.4f}", f"{found.source - found.before:+.4f}"
        )
    console = Console()
    console.print(table)
    console.print(
        f"probability of the right next token, mean over the scored positions of {found.n_sequences} test sequences",
        highlight=False,
    )


def _signed(effect: "Effect") -> str:
    return f"{effect.change:+.4f}"
