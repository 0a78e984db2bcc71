"""Finds the records in a tree of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from leaderboard.records.bounded import MAX_RECORD_BYTES, TooLarge, parse_json, read_bytes
from leaderboard.records.record import Record, read_record

MAX_FOUND = 500_000  # files and folders; a run has ten
KERNEL = frozenset({"dev", "proc", "sys"})  # folders at the root of the file system that hold no files


def find_records(root: str | Path) -> Iterator[tuple[Path, Record | ValueError]]:
    """Every record at or below `root`, sorted by path; a broken one comes as the ValueError that says what is wrong.

    A `record.json` is a record by its name. Any other `*.json` is one unless it plainly is something else: JSON without
    the fields `status` and `protocol_hash`. Hidden files and folders are left out.

    Raises:
        ValueError: one line: `root` does not exist, or too much lies below it.
    """
    root = Path(root)
    if not os.path.lexists(root):
        raise ValueError(f"{root}: no such file or folder")
    if root.is_dir():
        yield from read_records(files_below(root, ".json"))
    else:
        yield _read(root)


def read_records(paths: Iterable[Path]) -> Iterator[tuple[Path, Record | ValueError]]:
    """The records among `*.json` files: see `find_records`."""
    for path in paths:
        if path.name == "record.json" or _may_be_record(path):
            yield _read(path)


def _read(path: Path) -> tuple[Path, Record | ValueError]:
    try:
        return path, read_record(path)
    except ValueError as error:
        return path, error


def files_below(root: Path, *endings: str) -> list[Path]:
    """Paths below a folder with a name that ends so, sorted; nothing hidden, and nothing through a link to a folder.

    Raises:
        ValueError: one line, if there are more than `MAX_FOUND` files and folders to look at.
        OSError: the folder itself cannot be read.
    """
    found, waiting, looked_at = [], [os.fspath(root)], 0
    skipped = KERNEL if os.path.realpath(root) == os.sep else frozenset()
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            if folder == os.fspath(root):
                raise
            continue
        looked_at += len(inside)
        if looked_at > MAX_FOUND:
            raise ValueError(
                f"{root}: more than {MAX_FOUND:,} files and folders lie below it: give the folder of your runs"
            )
        parts = folder.split(os.sep)
        for name, is_folder in inside:
            if name.startswith("."):
                continue
            if name.endswith(endings):
                found.append([*parts, name])
            if is_folder and not (name in skipped and folder == os.fspath(root)):
                waiting.append(os.path.join(folder, name))
    return [Path(os.sep.join(parts)) for parts in sorted(found)]  # paths would compare as their parts do, but slowly


def _may_be_record(path: Path) -> bool:
    try:
        content = parse_json(read_bytes(path, MAX_RECORD_BYTES), unique=False)
    except TooLarge:
        return False
    except ValueError:
        return True  # unreadable or cut off: it may have been a record, so it is reported
    return isinstance(content, dict) and not {"status", "protocol_hash"}.isdisjoint(content)
