"""The folder of a run: how it is made, and which files it holds."""

import os
import shutil
import socket
from datetime import datetime
from pathlib import Path

from benchmark.config.errors import BenchmarkError
from benchmark.training.folder.lock import LOCK, clear_leftovers, is_alive, is_taken
from leaderboard.records.record import FINAL_STATUSES, Record, read_record
from leaderboard.whole_files import OF_THE_MACHINE, TEMPORARY, CannotWrite, write_whole

CONFIG, RECORD, CURVES, PICTURE = "config.yaml", "record.json", "curves.parquet", "curves.png"
PROBES_TABLE = "probes.parquet"
KEPT = "checkpoints"
"""Subfolder of the weights that are kept."""


def create_run_folder(root: Path, task: str, architecture: str, name: str | None, config: str) -> Path:
    """Make ``root/task/architecture/name`` with the configuration in it; without a name, one from date and time.

    The folder comes into being whole, by a rename: a kill at any moment leaves none, or one that can be resumed.

    Raises:
        ValueError: if the folder exists already, or it cannot be made.
        CannotWrite: if the disk is full or the like.
    """
    parent = root / task / architecture
    stem = name or datetime.now().strftime("%Y%m%d-%H%M%S")
    fresh = parent / f"{_fresh()}{os.getpid()}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _clear_beside(parent)
        fresh.mkdir()
        write_whole(fresh / CONFIG, config.encode())
        for attempt in range(1, 1000 if name is None else 2):
            folder = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
            if _moved(fresh, folder):
                return folder
    except OSError as error:
        if error.errno in OF_THE_MACHINE:
            raise CannotWrite(parent / stem, error, len(config)) from error
        raise ValueError(f"cannot make a run folder in {parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    raise ValueError(
        f"run folder {parent / stem} exists already: choose another --name, or continue it with"
        f" python -m benchmark resume {parent / stem}"
    )


def _fresh() -> str:
    """Beginning of the name of a folder that a process of this machine is making; its number follows."""
    return f".new.{socket.gethostname()[:40]}."


def _clear_beside(parent: Path) -> None:
    """Remove what killed processes have left among run folders: unfinished folders, and files in those of others."""
    for path in parent.glob(f"{_fresh()}*"):
        if (number := path.name.rpartition(".")[2]).isdecimal() and not is_alive(int(number)):
            shutil.rmtree(path, ignore_errors=True)
    for folder in {path.parent for path in parent.glob(f"[!.]*/{TEMPORARY}")}:
        if not is_taken(folder / LOCK):
            clear_leftovers(folder)


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
