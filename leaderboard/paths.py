"""Paths as users write them, on a command line, in YAML or in Python."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

_LONGEST_NAME, _LONGEST_PATH = 255, 4095
"""Bytes that file systems take."""

_UNWANTED = {"Cc", "Cs", "Zl", "Zp"}
"""Kinds of characters that no path has for good: control characters, bytes that are no UTF-8, line breaks."""


def user_path(text: str | os.PathLike[str], where: str = "path") -> Path:
    """The path that a user wrote, with ~ and ~user in the place of which their home folders stand.

    Args:
        text: as it was written.
        where: the option that it was written for, like "--out".

    Raises:
        ValueError: one line, if no file could bear this name.
    """
    if not isinstance(text, str | os.PathLike):
        raise ValueError(f"{where}: must be a path, got {text!r}")
    written = os.fspath(text)
    if not isinstance(written, str) or any(unicodedata.category(character) in _UNWANTED for character in written):
        raise ValueError(f"{where}: {written!r} is no path: it has characters that cannot be printed")
    if not written.strip():
        raise ValueError(f"{where}: {written!r} is no path: name a file or a folder ('.' is the working directory)")
    path = Path(os.path.expanduser(written))
    if path.parts and path.parts[0].startswith("~"):
        if not written.startswith("~"):
            return Path.cwd() / path  # ./~ is a name like others, but would be taken for a home when it is read again
        whose = f"the user {path.parts[0][1:]!r}" if len(path.parts[0]) > 1 else "your home folder"
        raise ValueError(f"{where}: {written}: {whose} is not known here: write the folder out (or ./~ for that name)")
    if len(os.fsencode(path)) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise ValueError(f"{where}: {written[:60]}... is too long: a name has at most {_LONGEST_NAME} bytes")
    return path
