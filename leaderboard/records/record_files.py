"""Finds the records in a tree of files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from leaderboard.records.record import Record, read_record


def find_records(root: str | Path) -> Iterator[tuple[Path, Record | ValueError]]:
    """Every record at or below `root`, sorted by path; a broken one comes as the ValueError that says what is wrong.

    A `record.json` is a record by its name. Any other `*.json` is one unless it plainly is something else: JSON without
    the fields `status` and `protocol_hash`. Hidden files and folders are left out.

    Raises:
        ValueError: `root` does not exist.
    """
    root = Path(root)
    if not root.exists():
        raise ValueError(f"{root}: no such file or folder")
    if root.is_file():
        yield _read(root)
    else:
        yield from read_records(files_below(root, ".json"))


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
    """Paths below a folder with a name that ends so, sorted; nothing hidden, and nothing through a link to a folder."""
    found = []
    for folder, folders, files in os.walk(root):  # several times as fast as Path.rglob
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in (*folders, *files) if name.endswith(endings) and not name.startswith(".")]
        found += [[*folder.split(os.sep), name] for name in names]
    return [Path(os.sep.join(parts)) for parts in sorted(found)]  # paths would compare as their parts do, but slowly


def _may_be_record(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return True  # unreadable or cut off: it may have been a record, so it is reported
    return isinstance(content, dict) and not {"status", "protocol_hash"}.isdisjoint(content)
