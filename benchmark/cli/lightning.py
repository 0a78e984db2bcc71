"""``python -m benchmark fit | validate | test``: the commands of LightningCLI."""

import logging
import os
import signal
import warnings
from pathlib import Path

from benchmark.config.plugins import load_plugins

DESCRIPTION = "How fast, and how reliably over seeds, does an architecture learn a sparse attention pattern?"


def run(words: list[str], folder: Path | None = None) -> int:
    """Run a command; the exit code says how the fit ended.

    Args:
        words: the command and its options.
        folder: run folder to continue in; None for a new one.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # The first process decides on a Ctrl-C: Lightning would kill it if another one ended while it starts.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not {"-h", "--help"} & set(words):
        load_plugins()
    from benchmark.cli.train import BenchmarkCLI

    _quiet()
    cli = BenchmarkCLI(words, DESCRIPTION, folder)
    return 0 if cli.outcome is None else cli.outcome.exit_code


def _quiet() -> None:
    """Keep Lightning's advice away: what it says of devices and workers does not apply or stands in the record."""
    import lightning.pytorch  # noqa: F401  (importing it sets the level of its loggers)

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.|torch\.utils\.tensorboard|tensorboard")
