"""``python -m benchmark sweep``: many seeds of many architectures on many cells."""

from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from benchmark.config.errors import optional
from benchmark.config.files.packaged import say_which
from benchmark.config.grid import parse_grid
from benchmark.config.plugins import load_plugins
from benchmark.config.seeds import parse_seeds
from benchmark.sweeps.sweep import SweepConfig, begin, carry_out
from leaderboard.paths import user_path
from leaderboard.streams import say

PARTS = {
    "model": "--model.OPTION VALUE, as for fit: of all architectures",
    "data": "--data.OPTION VALUE, as for fit: of all cells, whose records then name no suite",
    "optimizer": "--optimizer.OPTION VALUE, as for fit",
    "protocol": "--protocol.OPTION VALUE, as for fit; records then name no suite",
    "trainer": "--trainer.OPTION VALUE, as for fit",
}
"""Parts of a configuration whose options hold for all runs; `fit --help` and `fit --model.help NAME` list them."""

FILLED, SET = (
    ("metrics", "probes", "init_parts", "init_permuted"),
    ("attention_bias", "attention_bias_steps", "init_from"),
)
"""Options of one run that hold for all, given where they are not empty, and where they are not null."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to run, where to keep it, and what runs it."""
    parser.add_argument("--suite", type=str | None, default=None, help="name of a suite, or the path of its file")
    parser.add_argument(
        "--config",
        type=str,
        action="append",
        help="YAML as for fit: how an architecture is set up, or (without --suite) a cell; may be repeated",
    )
    parser.add_argument(
        "--models", type=str, default="", help="architectures, with commas between; default: the suite's"
    )
    parser.add_argument("--cells", type=str, default="", help="cells, with commas between; default: all")
    parser.add_argument("--seeds", type=str, default="0-4", help="like 0-19 or 0-4,7")
    parser.add_argument(
        "--grid", type=str, action="append", help="KEY=VALUES, like data.n_nonzero=1..4; repeated ones make the product"
    )
    parser.add_argument(
        "--max_steps", type=PositiveInt | None, default=None, help="budget in the place of the cells' own"
    )
    for part, what in PARTS.items():
        parser.add_argument(f"--{part}", type=dict[str, Any], default={}, metavar="OPTIONS", help=what)
    parser.add_argument("--metrics", type=str, default="", help="as for fit: further metrics, with commas between")
    parser.add_argument("--probes", type=str, default="", help="as for fit: probes, with commas between")
    parser.add_argument("--attention_bias", type=float | None, default=None, help="as for fit: an intervention")
    parser.add_argument("--attention_bias_steps", type=str | None, default=None, help="as for fit: FIRST:END")
    parser.add_argument(
        "--init_from", type=str | None, default=None, help="as for fit: of FOLDER/seedK, each seed takes its own"
    )
    parser.add_argument("--init_parts", type=str, default="", help="as for fit: with commas between")
    parser.add_argument("--init_permuted", type=bool, default=False, help="as for fit: a control")
    parser.add_argument("--out", type=str, default="runs", help="folder of all runs: OUT/suite/cell/architecture/seedK")
    parser.add_argument("--engine", type=Literal["local", "ray"], default="local", help="where the runs go")
    parser.add_argument(
        "--jobs", type=PositiveInt | None, default=None, help="processes at once; default: a core, or a GPU, each"
    )
    parser.add_argument("--address", type=str | None, default=None, help="of the Ray cluster")
    parser.add_argument("--dry_run", action="store_true", help="print what there is to do and what it costs")


def run(args: Namespace) -> int:
    """Run what is missing of a sweep; the exit code is 0 if all runs are done, 1 if some failed, 128 + signal if it was
    interrupted.

    Raises:
        ValueError: a mistake in the command or in a file, in one line.
    """
    config = SweepConfig(
        seeds=parse_seeds(args.seeds),
        suite=args.suite,
        files=tuple(args.config or ()),
        models=_names(args.models),
        cells=_names(args.cells),
        grid=parse_grid(args.grid or ()),
        max_steps=None if args.max_steps is None else int(args.max_steps),  # YAML knows no restricted numbers
        out=user_path(args.out, "--out"),
        options={name: args[name] for name in (*PARTS, *FILLED) if args[name]}
        | {name: args[name] for name in SET if args[name] is not None},
        engine=args.engine,
        jobs=args.jobs,
        address=args.address,
    )
    say_which([*config.files, *([args.suite] if args.suite else [])])
    if args.dry_run:
        load_plugins()
        from benchmark.sweeps.estimate import print_plan

        return print_plan(config.plan(), config.out, config.slots)
    begin(config)
    load_plugins()
    from benchmark.sweeps.display import Screen, print_summary

    with Screen() as screen:
        driver = carry_out(config, screen)
    with optional("the summary was not printed"):
        print_summary(driver.progress, config.out)
    if driver.signum is not None:
        say("interrupted: the same command goes on where it stopped")
        return 128 + driver.signum
    return int(bool(driver.progress.failures))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()
