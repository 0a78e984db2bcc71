"""Who works on a run: locks of the operating system, which vanish with the process that holds them, however it ends."""

import errno
import fcntl
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from benchmark.config.errors import InUse
from leaderboard.whole_files import TEMPORARY

LOCK = ".lock"
"""In a run folder: held by whoever trains there."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def take(path: Path) -> BinaryIO | None:
    """Lock a file, which is made if need be; it stays locked until it is closed or the process ends.

    Returns:
        The open file, or None if it is locked already, in this process or another.

    Raises:
        OSError: if the file cannot be opened.
    """
    # Never deleted: whoever waited for a file that is gone would hold a lock that nobody else sees.
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            warnings.warn(f"{path}: this file system has no locks: start nothing else on the same folder", stacklevel=2)
            return file
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file


def is_taken(path: Path) -> bool:
    """Whether somebody holds the lock now; a file that is not there is not made."""
    if not path.exists():
        return False
    if (file := take(path)) is None:
        return True
    file.close()
    return False


def is_alive(pid: int) -> bool:
    """Whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # one of another user
        return True
    return True


def clear_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes from a run folder that nobody works in."""
    for pattern in (TEMPORARY, f"*/{TEMPORARY}", f"*/*/{TEMPORARY}"):
        for path in folder.glob(pattern):
            with suppress(OSError):
                path.unlink()


@contextmanager
def training_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, and clear it of what killed processes have left.

    Raises:
        InUse: if another process holds it.
    """
    file = take(folder / LOCK)
    if file is None:
        raise InUse(f"{folder}: is in use by another process")
    with file:
        clear_leftovers(folder)
        yield
