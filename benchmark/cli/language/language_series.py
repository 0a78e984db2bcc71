"""``python -m benchmark language_series CONFIG``: trains the small language models of a series."""

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from leaderboard.paths import user_path


def add_arguments(parser: ArgumentParser) -> None:
    """Add the configuration, the seeds, the processes, and where checkpoints go."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of one that is shipped, like mini")
    parser.add_argument("--seeds", type=str, default="0-7", help="of weights and documents")
    parser.add_argument("--jobs", type=PositiveInt, default=1, help="processes at once, each of one seed and thread")
    parser.add_argument("--out", type=str, required=True, help="folder of the series: one folder for each seed")


def run(args: Namespace) -> int:
    """Train what is missing; the exit code is 0, or 1 if a seed in a process of its own has failed.

    Raises:
        ValueError: one line, if the configuration is wrong, or a seed's folder is of another one.
        CannotWrite: if a file cannot be written.
    """
    from benchmark.config.seeds import parse_seeds
    from benchmark.language.hub_files import require_transformers

    seeds = parse_seeds(args.seeds)
    out = user_path(args.out, "--out")
    require_transformers("language_series")
    from benchmark.language.small_series.series_training import load_recipe, train_series

    recipe = load_recipe(args.config)
    if failed := train_series(recipe, seeds, out, int(args.jobs)):
        print(f"seeds that failed: {', '.join(map(str, failed))} (the same command goes on with them)")
        return 1
    print(f"series: {out}")
    return 0
