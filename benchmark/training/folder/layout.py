"""The folder of a run: how it is made, and which files it holds."""

import os
import shutil
from datetime import datetime
from pathlib import Path

from benchmark.config.errors import BenchmarkError
from leaderboard.records.record import FINAL_STATUSES, Record, read_record

CONFIG, RECORD, CURVES, PICTURE = "config.yaml", "record.json", "curves.parquet", "curves.png"
KEPT = "checkpoints"
"""Subfolder of the weights that are kept."""


def create_run_folder(root: Path, task: str, architecture: str, name: str | None, config: str) -> Path:
    """Make ``root/task/architecture/name`` with the configuration in it; without a name, one from date and time.

    The folder comes into being whole, by a rename: a kill at any moment leaves none, or one that can be resumed.

    Raises:
        ValueError: if the folder exists already, or it cannot be made.
    """
    parent = root / task / architecture
    stem = name or datetime.now().strftime("%Y%m%d-%H%M%S")
    fresh = parent / f".{stem}.{os.getpid()}"
    try:
        fresh.mkdir(parents=True)
        (fresh / CONFIG).write_text(config, encoding="utf-8")
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


def require_unfinished(folder: Path) -> None:
    """Raise a ValueError of one line if the run in a folder has come to its end."""
    if finished := finished_record(folder):
        raise BenchmarkError(f"{folder}: this run has ended ({finished.status}); there is nothing to resume")


def seed_folder(folder: Path, seed: int) -> Path:
    """The folder of one seed in that of a run of many."""
    return folder / f"seed{seed}"


def kept_checkpoint(folder: Path, step: int) -> Path:
    """The file of the weights that were kept after a step."""
    return folder / KEPT / f"step{step:08d}.ckpt"


def kept_steps(folder: Path) -> list[int]:
    """The steps after which weights were kept, ascending."""
    return sorted(
        int(path.stem.removeprefix("step")) for path in (folder / KEPT).glob("step*.ckpt") if path.stem[4:].isdecimal()
    )
