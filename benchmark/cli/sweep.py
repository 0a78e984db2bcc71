"""``python -m benchmark sweep``: many seeds of many architectures on many cells."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from benchmark.config.plugins import load_plugins
from benchmark.sweeps.grid import parse_grid
from benchmark.sweeps.seeds import parse_seeds
from benchmark.sweeps.server import start_server

if TYPE_CHECKING:
    from benchmark.sweeps.engine import Engine


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
    if args.engine == "ray" and args.jobs is not None:
        raise ValueError("--jobs is for --engine local: a cluster says itself how many runs it can take")
    if args.engine == "local" and args.address is not None:
        raise ValueError("--address is for --engine ray")
    seeds, grid = parse_seeds(args.seeds), parse_grid(args.grid or ())
    if args.engine == "local" and not args.dry_run:
        start_server()  # first, because importing what a run needs takes seconds
    load_plugins()

    from benchmark.sweeps.planning import make_plan

    plan = make_plan(
        seeds,
        suite=args.suite,
        files=args.config or (),
        models=_names(args.models),
        cells=_names(args.cells),
        grid=grid,
        max_steps=None if args.max_steps is None else int(args.max_steps),  # YAML knows no restricted numbers
    )
    from benchmark.environment import usable_cores

    out = Path(args.out)
    jobs = args.jobs or usable_cores()
    if args.dry_run:
        from benchmark.sweeps.estimate import print_plan

        return print_plan(plan, out, jobs if args.engine == "local" else None)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {out}: cannot be made: {error.strerror}") from error
    from benchmark.sweeps.driver import Driver
    from benchmark.sweeps.table import Screen, print_summary

    with Screen() as screen:
        driver = Driver(plan, out, _engine(args, out, jobs), screen)
        try:
            driver.run()
        except KeyboardInterrupt:
            driver.signum = driver.signum or signal.SIGINT
    print_summary(driver.progress, out)
    if driver.signum is not None:
        print("interrupted: the same command goes on where it stopped", file=sys.stderr)
        return 128 + driver.signum
    return int(bool(driver.progress.failures))


def _engine(args: Namespace, out: Path, jobs: int) -> "Engine":
    if args.engine == "ray":
        from benchmark.sweeps.ray_engine import RayEngine

        return RayEngine(out, args.address)
    from benchmark.sweeps.ensembles import EnsembleEngine, visible_gpus
    from benchmark.sweeps.local import LocalEngine

    if gpus := visible_gpus():
        return EnsembleEngine(out, gpus[: args.jobs])
    return LocalEngine(out, jobs)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")] if text else []
