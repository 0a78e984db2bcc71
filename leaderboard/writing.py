"""Files that appear whole or not at all; what cannot be written is one line that names the file and the room left."""

from __future__ import annotations

import glob
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from leaderboard import whole_files
from leaderboard.interruption import held

LEFT_AFTER_S = 3600  # writing takes seconds


def write_whole(path: Path, content: bytes) -> None:
    """Put a content in the place of a file, and make the folders above it; a signal waits until that is done.

    Raises:
        ValueError: one line, see `writing`; the old file is as it was.
    """
    with held(), writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        whole_files.write_whole(path, content)


def beside(path: Path, kind: str) -> Path:
    """The name of something temporary in the folder of a path, for a rename must not cross file systems.

    Leftovers of killed processes that are older than an hour are removed.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if re.fullmatch(r"\d+\.(tmp|new|old)", left.name[len(path.name) + 2 :]):
            with suppress(OSError):
                if time.time() - left.lstat().st_mtime > LEFT_AFTER_S:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
    return path.with_name(f".{path.name}.{os.getpid()}.{kind}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes to a path, or to a temporary one beside it.

    Raises:
        ValueError: one line in place of an OSError: which file, why, and how much room there is where that is why.
    """
    try:
        yield
    except OSError as error:
        place = Path(os.fsdecode(error.filename)) if error.filename else path
        place = path if f".{os.getpid()}." in str(place) else place  # the temporary file's name is nobody's business
        raise ValueError(str(whole_files.CannotWrite(place, error))) from error
