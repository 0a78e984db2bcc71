"""``python -m benchmark resume RUN_FOLDER``: go on with a run that has not ended."""

from jsonargparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run's folder."""
    parser.add_argument("run_folder", metavar="RUN_FOLDER", help="folder of the run, with its config.yaml")
    parser.add_argument("--trust", action="store_true", help="import whatever classes its config.yaml names")


def run(args: Namespace) -> int:
    """Fit on from the run's checkpoint, or from the start if it has none; the exit code is that of ``fit``.

    Raises:
        ValueError: one line, if this is no run folder or the run has ended.
    """
    from benchmark.config.plugins import load_plugins
    from benchmark.training.display.summary import resume_and_print
    from leaderboard.paths import user_path

    load_plugins()
    return resume_and_print(user_path(args.run_folder, "RUN_FOLDER"), trust=args.trust)
