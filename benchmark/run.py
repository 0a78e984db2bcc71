"""One run from start to end: a folder, a fit, a record, whatever way it ends."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmark.checkpoint import Checkpointer, Interrupted
from benchmark.recorder import RECORD, Diverged
from leaderboard.record import FINAL_STATUSES, Record, read_record

CONFIG = "config.yaml"
DIVERGED = 3
"""Exit code."""


def create_run_folder(root: Path, task: str, architecture: str, name: str | None, config: str) -> Path:
    """Make ``root/task/architecture/name`` with the configuration in it; without a name, one from date and time.

    The folder comes into being whole, by a rename: a kill at any moment leaves none, or one that can be resumed.

    Raises:
        ValueError: if the name is not a plain folder name, the folder exists already, or it cannot be made.
    """
    if name is not None and not re.fullmatch(r"[\w.+=-]*\w[\w.+=-]*", name):
        raise ValueError(f"name {name!r} is not a plain folder name: use letters, digits, '.', '_', '-', '+', '='")
    parent = root / task / architecture
    stem = name or datetime.now().strftime("%Y%m%d-%H%M%S")
    fresh = parent / f".{stem}.{os.getpid()}"
    try:
        fresh.mkdir(parents=True)
        (fresh / CONFIG).write_text(config)
        for attempt in range(1, 1000 if name is None else 2):
            folder = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
            if _moved(fresh, folder):
                return folder
    except OSError as error:
        raise ValueError(f"cannot make a run folder in {parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    raise ValueError(
        f"run folder {parent / stem} exists already: choose another --name, or continue it with"
        f" python -m benchmark resume {parent / stem}"
    )


def _moved(folder: Path, target: Path) -> bool:
    """Rename a folder unless something is there already (an empty folder does not count)."""
    try:
        os.rename(folder, target)
    except OSError:
        if not target.exists():
            raise
        return False
    return True


def finished_record(folder: Path) -> Record | None:
    """The record of a run folder whose run has come to its end (solved, censored or diverged).

    Raises:
        ValueError: if there is a record that is not valid.
    """
    path = folder / RECORD
    record = read_record(path) if path.exists() else None
    return record if record is not None and record.status in FINAL_STATUSES else None


@dataclass
class Outcome:
    """How a run, or an ensemble of runs, ended.

    Args:
        records: what was written, a record a seed.
        exit_code: 0 solved or censored, 1 error, 3 diverged, 128 + signal number when interrupted.
        error: the exception of a run that ended in an error.
    """

    records: list[Record]
    exit_code: int
    error: BaseException | None = None


def train(
    fit: Callable[[], object], write: Callable[[str | None, str | None], list[Record]], checkpointer: Checkpointer
) -> Outcome:
    """Fit, and write a record at every kind of end.

    Args:
        fit: starts the fit.
        write: writes the records, given a status (None where nothing cut the run short) and an error.
        checkpointer: turns signals into an orderly end.

    Raises:
        OSError: if the record cannot be written.
    """
    with checkpointer.signals():
        try:
            fit()
        except Interrupted as end:
            return Outcome(write("interrupted", str(end)), 128 + end.signum)
        except Diverged as end:
            return Outcome(write("diverged", str(end)), DIVERGED)
        except Exception as error:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            return Outcome(write("error", message), 1, error)
        records = write(None, None)
        return Outcome(records, DIVERGED if any(record.status == "diverged" for record in records) else 0)
