"""The names, kinds and sizes of files that a folder of results may hold, and nothing else."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from leaderboard.entries.entry_file import ENTRY_FILE
from leaderboard.entries.entry_file import MAX_BYTES as MAX_ENTRY_BYTES
from leaderboard.records.bounded import MAX_CURVES_BYTES
from leaderboard.records.file_names import folded, name_problem
from leaderboard.records.plain_text import is_plain
from leaderboard.validation.checkout import KINDS, keeps_executable_bits
from leaderboard.validation.report import Problem

RECORD, CURVES, PICTURE, PROBES = "record.json", "curves.parquet", "curves.png", "probes.parquet"
MAX_SIZES = {
    RECORD: 100_000, CURVES: MAX_CURVES_BYTES, PICTURE: 2_000_000, PROBES: MAX_CURVES_BYTES, ENTRY_FILE: MAX_ENTRY_BYTES
}  # fmt: skip
MAX_FILES = 20_000
MAX_SEEDS = 1000
MAX_DEPTH = 8  # folders below figures/ and tuning/
FREE = ("figures", "tuning")  # folders of the results whose records belong to no entry
LINK = f"{KINDS['120000']}: only files and folders are allowed"

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CELL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,=-]{0,199}")
_SEED = re.compile(r"seed(0|[1-9][0-9]{0,9})")
_FILES = {
    3: ((ENTRY_FILE,), f"an entry holds {ENTRY_FILE} and folders <cell>/seed<K>"),
    5: ((RECORD, CURVES), f"a seed's folder holds {RECORD} and {CURVES} only"),
}
_FOLDERS = {
    1: (_SLUG, "a suite's name has lower-case letters, digits, - and _ only"),
    2: (_SLUG, "an entry's name has lower-case letters, digits, - and _ only"),
    3: (_CELL, "a cell's name has letters, digits and _ . + , = - only"),
    4: (_SEED, "a cell holds folders seed0, seed1, ... only"),
}


@dataclass
class RunFolder:
    """A folder that should hold a run. `files` are those that are there and may be opened."""

    path: Path
    files: set[str] = field(default_factory=set)
    seed: int | None = None


@dataclass
class EntryFolder:
    """A folder `<suite>/<name>`: `has_file` is whether its `entry.yaml` may be opened; runs by cell and seed."""

    path: Path
    suite: str
    name: str
    has_file: bool = False
    cells: dict[str, dict[int, RunFolder]] = field(default_factory=dict)


@dataclass
class Tree:
    """Entries by (suite, name), and runs that belong to none."""

    entries: dict[tuple[str, str], EntryFolder] = field(default_factory=dict)
    others: dict[Path, RunFolder] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    executable: list[Path] = field(default_factory=list)


def scan(path: Path) -> Tree:
    """Walk through a folder without following a link or opening a file.

    Args:
        path: an entry (it has `entry.yaml`), a suite's folder of entries, or the results: folders of suites, and
            `figures` and `tuning`.
    """
    tree = Tree()
    names = _names_above(path)
    spelt: dict[tuple[Path, str], str] = {}
    for number, (place, parts, entry) in enumerate(_walk(path, names, tree)):
        if number == MAX_FILES:
            # What was found until here would bury the reason in thousands of lines.
            return Tree(problems=[Problem(str(path), "size", f"holds more than {MAX_FILES:,} files and folders")])
        if problem := _kind_problem(entry) or _place_problem(parts, entry.is_dir(follow_symlinks=False)):
            tree.problems.append(Problem(str(place), *problem))
        elif (first := spelt.setdefault((place.parent, folded(entry.name)), entry.name)) != entry.name:
            tree.problems.append(
                Problem(str(place), "name", f"is {first} to some file systems, which see no difference")
            )
        elif entry.is_dir(follow_symlinks=False):
            _add_folder(tree, place, parts)
        elif _openable(tree, place, entry):
            _add_file(tree, place, parts)
    if tree.executable and keeps_executable_bits(path):
        tree.problems += [Problem(str(place), "file", f"{KINDS['100755']}: chmod -x it") for place in tree.executable]
    for found in tree.entries.values():
        tree.problems += _missing(found)
    for run in tree.others.values():
        if run.files and not os.path.lexists(run.path / RECORD):
            tree.problems.append(Problem(str(run.path / RECORD), "file", "is missing"))
    return tree


def _names_above(path: Path) -> tuple[str, ...]:
    """The first parts of the path relative to the results: () for the results, (suite, name) for an entry."""
    place = path.resolve()
    for position, part in enumerate(place.parts[:-1]):
        if part == "results" and place.parts[position + 1] in FREE:
            return place.parts[position + 1 :]
    if os.path.lexists(path / ENTRY_FILE):
        return place.parent.name, place.name
    if place.name in FREE:
        return (place.name,)
    below = _folders(path)
    if place.name == "results" or any(folder.name in FREE for folder in below):
        return ()
    flat = any(os.path.lexists(folder / ENTRY_FILE) for folder in below)
    deep = any(os.path.lexists(inner / ENTRY_FILE) for folder in below for inner in _folders(folder))
    return (place.name,) if flat and not deep else ()


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, and no links to some."""
    return [path / entry.name for entry in _listed(path) if entry.is_dir(follow_symlinks=False)]


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, in the order of names; of more than may be there only the first that come."""
    with os.scandir(folder) as found:
        return sorted(islice(found, MAX_FILES + 1), key=lambda entry: entry.name)


def _walk(folder: Path, parts: tuple[str, ...], tree: Tree) -> Iterator[tuple[Path, tuple[str, ...], os.DirEntry[str]]]:
    """Yield everything, in the order of names, with its path from the results on; go only where something may lie."""
    try:
        entries = _listed(folder)
    except OSError as error:
        tree.problems.append(Problem(str(folder), "file", f"cannot be read: {error.strerror}"))
        return
    for entry in entries:
        here = (*parts, entry.name)
        yield folder / entry.name, here, entry
        if entry.is_dir(follow_symlinks=False) and not (_kind_problem(entry) or _place_problem(here, True)):
            yield from _walk(folder / entry.name, here, tree)


def _kind_problem(entry: os.DirEntry[str]) -> tuple[str, str] | None:
    if not is_plain(entry.name):
        return "name", "holds a control character"
    if entry.name.startswith("."):
        return "name", "is hidden: no name may start with a dot"
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        return "file", LINK
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "file", "is no ordinary file (a device, a pipe or a socket)"
    return None


def _place_problem(parts: tuple[str, ...], is_folder: bool) -> tuple[str, str] | None:
    """The reason why nothing of this name may be here, from the parts of the path from the results on."""
    name, field = parts[-1], "name" if is_folder else "file"
    if parts[0] in FREE:
        if is_folder and (len(parts) > MAX_DEPTH or not _CELL.fullmatch(name)):
            return field, f"folders here go {MAX_DEPTH} deep and are named with letters, digits and _ . + , = - only"
        if not is_folder and (len(parts) < 3 or name not in (RECORD, CURVES, PICTURE, PROBES)):
            return field, f"is not expected: here are folders with {RECORD}, {CURVES}, {PROBES} and {PICTURE} only"
    elif is_folder:
        pattern, reason = _FOLDERS.get(len(parts), (None, "a seed's folder has no folders"))
        if pattern is None or not pattern.fullmatch(name):
            return field, f"is not expected: {reason}"
    else:
        allowed, reason = _FILES.get(len(parts), ((), "here are folders only"))
        if name not in allowed:
            return field, f"is not expected: {reason}"
    return ("name", problem) if (problem := name_problem(name)) else None


def _openable(tree: Tree, place: Path, entry: os.DirEntry[str]) -> bool:
    status, most = entry.stat(follow_symlinks=False), MAX_SIZES[entry.name]
    if status.st_mode & 0o111:
        tree.executable.append(place)
    if status.st_nlink > 1:
        tree.notes.append(f"{place}: is a hard link, one of {status.st_nlink} names of the same file")
    if status.st_size > most:
        tree.problems.append(Problem(str(place), "size", f"is {status.st_size:,} bytes, at most {most:,} are allowed"))
    return status.st_size <= most


def _add_folder(tree: Tree, place: Path, parts: tuple[str, ...]) -> None:
    if parts[0] in FREE or len(parts) < 2:
        return
    entry = _entry(tree, place, parts)
    if len(parts) > 2:
        cell = entry.cells.setdefault(parts[2], {})
        if len(parts) == 4:
            seed = int(parts[3].removeprefix("seed"))
            cell[seed] = RunFolder(place, seed=seed)


def _add_file(tree: Tree, place: Path, parts: tuple[str, ...]) -> None:
    if parts[0] in FREE:
        tree.others.setdefault(place.parent, RunFolder(place.parent)).files.add(parts[-1])
    elif parts[-1] == ENTRY_FILE:
        _entry(tree, place.parent, parts[:2]).has_file = True
    else:
        seed = int(parts[3].removeprefix("seed"))
        _entry(tree, place.parents[2], parts[:2]).cells[parts[2]][seed].files.add(parts[-1])


def _entry(tree: Tree, place: Path, parts: tuple[str, ...]) -> EntryFolder:
    """The entry that a folder at or below it belongs to, made when it is first seen."""
    suite, name = parts[:2]
    folder = place if len(parts) == 2 else place.parents[len(parts) - 3]
    return tree.entries.setdefault((suite, name), EntryFolder(folder, suite, name))


def _missing(entry: EntryFolder) -> Iterator[Problem]:
    if not os.path.lexists(entry.path / ENTRY_FILE):
        yield Problem(str(entry.path / ENTRY_FILE), "file", "is missing: who made this, and how was it tuned?")
    if not entry.cells:
        yield Problem(str(entry.path), "file", "holds no record")
    for cell, runs in entry.cells.items():
        if not runs or sorted(runs) != list(range(len(runs))):
            have = ", ".join(map(str, sorted(runs)[:20]))
            yield Problem(str(entry.path / cell), "seeds", f"must be 0, 1, 2, ... without a gap, are {have or 'none'}")
        if len(runs) > MAX_SEEDS:
            yield Problem(str(entry.path / cell), "seeds", f"are {len(runs):,}, at most {MAX_SEEDS:,} are allowed")
        for run in runs.values():
            for name in (RECORD, CURVES):
                if not os.path.lexists(run.path / name):
                    yield Problem(str(run.path / name), "file", "is missing")
