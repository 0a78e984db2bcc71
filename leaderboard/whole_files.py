"""Files that come into being whole or not at all, and the one line for those that cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".*.tmp"
"""Pattern of what a killed process leaves in the place of a file that it had not written yet."""


OF_THE_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE
}  # fmt: skip
"""Errors that no other name or folder of the same disk would mend."""


_OF_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class CannotWrite(OSError):
    """A file cannot be written; its text is one line with the file and the reason.

    Args:
        path: the file.
        error: of the operating system.
        needed: bytes that it would hold, where that is known.
    """

    def __init__(self, path: Path, error: OSError, needed: int | None = None) -> None:
        super().__init__(error.errno, error.strerror, str(path))
        self.path, self.line = path, _line(path, error, needed)

    def __str__(self) -> str:
        return self.line


def _line(path: Path, error: OSError, needed: int | None) -> str:
    line, folder = f"{path}: cannot be written: ", path.parent
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    if error.errno == errno.ENOENT and there != folder:
        return f"{line}the folder {there / folder.absolute().relative_to(there).parts[0]} is gone"
    line += error.strerror or str(error)
    if error.errno not in _OF_ROOM:
        return line
    room = os.statvfs(there)
    asked = "" if needed is None else f", the file has {needed:,}"
    return f"{line} ({room.f_bavail * room.f_frsize:,} bytes are free on its disk{asked})"


def root_of(error: Exception) -> Exception:
    """The error of the operating system from which another one follows; the error itself if there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause or error


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Every error of the operating system inside the block is a `CannotWrite` of this file.

    So is one that a library makes of it.
    """
    try:
        yield
    except CannotWrite:
        raise
    except Exception as error:
        if isinstance(root := root_of(error), OSError) and root.errno is not None:
            raise CannotWrite(path, root, needed) from error
        raise


@contextmanager
def first_of(error: Exception) -> Iterator[None]:
    """If a file cannot be written inside the block, raise the error that came before if it was of the same kind."""
    try:
        yield
    except CannotWrite as second:
        raise (error if isinstance(error, CannotWrite) else second) from None


@contextmanager
def whole_file(path: Path, needed: int | None = None) -> Iterator[BinaryIO]:
    """A file to fill, which takes the place of another when the block ends: a kill or an error at any moment leaves the
    old one, none, or the whole new one.

    Its folder is not made: one that was removed must not come back half.

    Args:
        path: of the file.
        needed: bytes that it will hold, where that is known.

    Raises:
        CannotWrite: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # another process may be at it too
    with writing(path, needed):
        try:
            with temporary.open("w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as a whole, see `whole_file`.

    Raises:
        CannotWrite: if it cannot be written.
    """
    with whole_file(path, len(content)) as file:
        file.write(content)


def require_room(folder: Path) -> None:
    """Write a small file in a folder, and remove it.

    Raises:
        CannotWrite: if it cannot be written.
    """
    write_whole(probe := folder / f".room.{os.getpid()}.tmp", bytes(2**16))
    with suppress(OSError):
        probe.unlink()
