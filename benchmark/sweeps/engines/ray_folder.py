"""The folder of a Ray cluster that a sweep has started: for this user alone, and gone with the sweep.

Ray lets everybody write in its own folder, so that one lies in another, which is private. What a killed sweep has left,
folder and processes, is removed by the next one on the machine.
"""

import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmark.training.folder.lock import LOCK, is_taken, take

PLACE = Path("/tmp")
"""Not TMPDIR: the path of a socket below must not have more than 107 characters."""

PREFIX = "emergence-ray-"
PATIENCE_S = 5.0
"""Time that Ray's processes get to end by themselves."""


def private_folder() -> tuple[Path, Callable[[], None]]:
    """A new folder for Ray, and what ends the processes that work in it and removes it; a second call does nothing.

    Raises:
        OSError: if it cannot be made.
    """
    remove_orphaned_clusters()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
    lock = take(folder / LOCK)
    assert lock is not None

    def remove() -> None:
        end(folder, PATIENCE_S)
        lock.close()

    return folder, remove


def remove_orphaned_clusters() -> None:
    """End and remove what sweeps of this user that are gone have left."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if is_private(folder) and (folder / LOCK).exists() and not is_taken(folder / LOCK):
                end(folder, 0.0)


def is_private(folder: Path) -> bool:
    """Whether a folder is one, and this user's alone.

    Raises:
        OSError: if there is nothing.
    """
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def end(folder: Path, patience_s: float) -> None:
    """Wait for Ray's processes in a folder to end, kill those that do not, and remove it."""
    deadline = time.monotonic() + patience_s
    while (left := processes_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    while processes_in(folder) and time.monotonic() < deadline + PATIENCE_S:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def processes_in(folder: Path) -> list[int]:
    """Ray's processes that were told to work in a folder: none where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            if f"{folder}/".encode() in line and b"/ray/" in line and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found
