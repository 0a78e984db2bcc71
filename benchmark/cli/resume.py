"""``python -m benchmark resume RUN_FOLDER``: go on with a run that has not ended."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run's folder."""
    parser.add_argument("run_folder", metavar="RUN_FOLDER", help="folder of the run, with its config.yaml")


def run(args: Namespace) -> int:
    """Fit on from the run's checkpoint, or from the start if it has none; the exit code is that of ``fit``.

    Raises:
        ValueError: one line, if this is no run folder or the run has ended.
    """
    from benchmark.checkpoint import CHECKPOINT
    from benchmark.cli.lightning import run as run_lightning
    from benchmark.run import CONFIG, finished_record

    folder = Path(args.run_folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: is not a run folder (it has no {CONFIG})")
    if finished := finished_record(folder):
        raise ValueError(f"{folder}: this run has ended ({finished.status}); there is nothing to resume")
    checkpoint = ["--ckpt_path", str(folder / CHECKPOINT)] if (folder / CHECKPOINT).exists() else []
    return run_lightning(["fit", "--config", str(folder / CONFIG), *checkpoint], folder)
