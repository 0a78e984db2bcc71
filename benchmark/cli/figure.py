"""``python -m benchmark figure ID``: a result of the paper again, drawn beside the published one, with verdicts."""

from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from leaderboard.paths import user_path
from leaderboard.streams import say


def add_arguments(parser: ArgumentParser) -> None:
    """Add which figure, its size and seeds, and what runs it."""
    from benchmark.figures.registry import TITLES

    known = "; ".join(f"{name}: {title}" for name, title in TITLES.items())
    parser.add_argument("figure", metavar="ID", nargs="?", default=None, help=known)
    parser.add_argument("--scale", type=str, default="lite", help="lite: half an hour on two cores; paper: its sizes")
    parser.add_argument("--seeds", type=str | None, default=None, help="like 0-7; default: those that count")
    parser.add_argument("--out", type=str, default="runs/figures", help="folder: OUT/ID holds runs, picture, verdicts")
    parser.add_argument("--engine", type=Literal["local", "ray"], default="local", help="where the runs go")
    parser.add_argument(
        "--jobs", type=PositiveInt | None, default=None, help="processes at once; default: a core, or a GPU, each"
    )
    parser.add_argument("--address", type=str | None, default=None, help="of the Ray cluster")
    parser.add_argument("--dry_run", action="store_true", help="print what there is to do and what it costs")
    parser.add_argument("--list", action="store_true", help="name the figures, a line each")
    parser.add_argument("--report", action="store_true", help="write docs/reproduction.md from the committed records")
    parser.add_argument(
        "--ship", action="store_true", help="copy the finished runs among the committed results, for --report"
    )
    parser.add_argument(
        "--simulate", type=PositiveInt | None, default=None, help="simulate so many figures: error rates of the claims"
    )


def run(args: Namespace) -> int:
    """Run what is missing, draw, and print the verdicts; the exit code is 0 if all runs are done, whatever the verdicts
    are, 1 if some failed, 128 + signal if it was interrupted.

    Raises:
        ValueError: a mistake in the command or in a file, in one line.
    """
    from benchmark.figures.registry import figure_of, listing

    if args.list:
        print(listing())
        return 0
    if args.report:
        if args.figure is not None:
            raise ValueError("--report is for all figures: leave ID out")
        from benchmark.figures.reproduction import write_report

        for path in write_report():
            print(path)
        return 0
    if args.figure is None:
        raise ValueError("ID is missing: --list names the figures")
    figure = figure_of(args.figure)
    if args.simulate is not None:
        from benchmark.figures.planting import write_error_rates

        print(write_error_rates(figure, int(args.simulate)))
        return 0
    return _carry_out(args, figure)


def _carry_out(args: Namespace, figure: Any) -> int:
    from benchmark.config.seeds import parse_seeds
    from benchmark.figures.figure import require_scale
    from benchmark.figures.unchanged import remembered
    from benchmark.sweeps.sweep import SweepConfig

    require_scale(args.scale)
    config = SweepConfig(
        seeds=parse_seeds(figure.scales[args.scale].seeds if args.seeds is None else args.seeds),
        out=user_path(args.out, "--out") / figure.name,
        engine=args.engine,
        jobs=args.jobs,
        address=args.address,
    )
    folders = None if args.dry_run else remembered(figure, args.scale, config.seeds, config.out)
    code = 0
    if folders is None:
        code, folders = _run(args, figure, config)
    if folders is None:
        return code
    from benchmark.figures.presenting import present

    paths = present(figure, args.scale, folders, config.out)
    if args.ship:
        from benchmark.figures.reproduction import ship

        paths += ship(figure, args.scale, config.out)
    print("\n".join(map(str, paths)))
    return code


def _run(args: Namespace, figure: Any, config: Any) -> tuple[int, list[Path] | None]:
    """Run what is missing; the exit code, and the folders of all runs, None if there is nothing to show yet."""
    from benchmark.config.plugins import load_plugins
    from benchmark.figures.figure_plan import figure_plan, folders, run_missing
    from benchmark.figures.unchanged import remember
    from benchmark.sweeps.display import Screen

    load_plugins()
    plan = figure_plan(figure, args.scale, config.seeds)
    if args.dry_run:
        from benchmark.sweeps.estimate import print_plan

        return print_plan(plan, config.out, config.slots), None
    with Screen() as screen:
        driver = run_missing(plan, config, screen)
    if driver is not None and driver.signum is not None:
        say("interrupted: the same command goes on where it stopped")
        return 128 + driver.signum, None
    failures = [] if driver is None else driver.progress.failures
    for failure in failures:
        say(f"failed: {failure.unit.folder}: {failure.reason}")
    found = folders(plan, config.out)
    if not failures:
        remember(figure, args.scale, config.seeds, config.out, found)
    return int(bool(failures)), found
