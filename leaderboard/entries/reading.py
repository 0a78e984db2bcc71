"""Reads a tree of results: entries (records below a folder with `entry.yaml`) and every other record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from leaderboard.entries.entry_file import ENTRY_FILE, EntryFile, Verified, load_yaml, read_entry
from leaderboard.entries.places import VERIFIED_FILE
from leaderboard.records.configuration import differences
from leaderboard.records.record import Record, first_problem
from leaderboard.records.record_files import files_below, find_records, read_records


@dataclass(frozen=True)
class RunRecord:
    """A record and the folder it lies in."""

    record: Record
    folder: Path


@dataclass(frozen=True)
class Entry:
    """The runs of one entry in one suite, by cell, in the order of the seeds.

    Attributes:
        file: what `entry.yaml` says; None for records that were not handed in, e.g. a sweep's folder.
    """

    suite: str
    name: str
    file: EntryFile | None
    verified: bool
    cells: Mapping[str, tuple[RunRecord, ...]]
    verified_seeds: int = 0

    def records(self) -> dict[str, list[Record]]:
        """The records of every cell."""
        return {cell: [run.record for run in runs] for cell, runs in self.cells.items()}


@dataclass(frozen=True)
class Results:
    """A tree of results: `others` belong to no entry, `problems` are broken files, one line each."""

    entries: tuple[Entry, ...]
    others: tuple[RunRecord, ...]
    problems: tuple[str, ...]


def read_results(root: str | Path, verified: Path | None = VERIFIED_FILE) -> Results:
    """Everything at or below a folder.

    Raises:
        ValueError: the folder does not exist, or the list of verified entries is broken.
    """
    checked = {(line.suite, line.name): line for line in read_verified(verified)} if verified else {}
    root = Path(root)
    problems: list[str] = []
    files: dict[Path, EntryFile] = {}
    paths = files_below(root, ".json", ENTRY_FILE) if root.is_dir() else []
    for path in paths:
        if path.name != ENTRY_FILE:
            continue
        try:
            files[path.parent] = read_entry(path)
        except ValueError as error:
            problems.append(str(error))
    runs: dict[Path, list[RunRecord]] = {folder: [] for folder in files}
    others: list[RunRecord] = []
    records = read_records(path for path in paths if path.suffix == ".json") if root.is_dir() else find_records(root)
    homes: dict[Path, Path | None] = {}  # of folders
    for path, found in records:
        if not isinstance(found, Record):
            problems.append(str(found))
            continue
        home = _home(path.parent, files, homes)
        run = RunRecord(found, path.parent)
        if home is None:
            others.append(run)
        elif (found.suite, found.architecture.name) != (files[home].suite, files[home].architecture):
            said = f"{files[home].architecture} in suite {files[home].suite}"
            problems.append(
                f"{path}: is {found.architecture.name} in suite {found.suite}, but {ENTRY_FILE} says {said}"
            )
        elif found.intervention is not None:
            said = f"{path}: intervention: is {found.intervention.text}"
            problems.append(f"{said}: such a run is never part of an entry")
        elif found.cell is None:
            problems.append(f"{path}: cell: is null, but an entry's records belong to cells")
        else:
            runs[home].append(run)
    entries: list[Entry] = []
    for folder, file in files.items():
        key = (file.suite, file.name)
        if key in {(entry.suite, entry.name) for entry in entries}:
            problems.append(f"{folder / ENTRY_FILE}: name: a second entry {file.name} in suite {file.suite}")
            continue
        cells = _by_cell(runs[folder])
        n_whole = checked[key].n_whole(len(cells)) if key in checked else 0
        entries.append(Entry(file.suite, file.name, file, key in checked, cells, n_whole))
    problems += [problem for entry in entries for problem in _mixed(entry)]
    return Results(tuple(sorted(entries, key=lambda entry: (entry.suite, entry.name))), tuple(others), tuple(problems))


def entries_of(results: Results) -> tuple[Entry, ...]:
    """The entries, and what else belongs to a suite's cell as if its architecture had handed it in.

    So a sweep's folder can be compared as it is. An entry that was handed in goes before other records of its name.

    Raises:
        ValueError: one architecture has two configurations in a cell.
    """
    known = {(entry.suite, entry.name) for entry in results.entries}
    loose: dict[tuple[str, str], list[RunRecord]] = {}
    for run in results.others:
        key = (run.record.suite, run.record.architecture.name)
        if run.record.suite is not None and run.record.cell is not None and key not in known:
            loose.setdefault((run.record.suite, run.record.architecture.name), []).append(run)
    made = [Entry(suite, name, None, False, _by_cell(runs)) for (suite, name), runs in loose.items()]
    for entry in made:
        for problem in _mixed(entry):
            raise ValueError(problem)
    return tuple(sorted([*results.entries, *made], key=lambda entry: (entry.suite, entry.name)))


def read_verified(path: Path) -> tuple[Verified, ...]:
    """Lines of the list of entries that maintainers verified; none if there is no list.

    Raises:
        ValueError: one line with the file, the field and the reason.
    """
    if not os.path.lexists(path):
        return ()
    content = load_yaml(path)
    if not isinstance(content, list):
        raise ValueError(f"{path}: must hold a list, holds {type(content).__name__}")
    try:
        return tuple(Verified.model_validate(line) for line in content)
    except ValidationError as error:
        raise ValueError(f"{path}: {first_problem(error)}") from error


def _home(folder: Path, files: Mapping[Path, EntryFile], known: dict[Path, Path | None]) -> Path | None:
    """The nearest folder of an entry, this one or one above it; looked up once for all records that share a way."""
    if folder not in known:
        above = folder.parent
        known[folder] = folder if folder in files else None if folder == above else _home(above, files, known)
    return known[folder]


def _by_cell(runs: Iterable[RunRecord]) -> dict[str, tuple[RunRecord, ...]]:
    cells: dict[str, list[RunRecord]] = {}
    for run in runs:
        cells.setdefault(run.record.cell or "", []).append(run)
    return {cell: tuple(sorted(cells[cell], key=_order)) for cell in sorted(cells)}


def _order(run: RunRecord) -> tuple[object, ...]:
    seeds = run.record.seeds
    return seeds.task_seed, seeds.init_seed, seeds.data_seed, run.record.started_at


def _mixed(entry: Entry) -> list[str]:
    """A line for every cell whose records are not of one configuration."""
    problems = []
    for cell, runs in entry.cells.items():
        first = runs[0]
        for run in runs:
            for field, mine, other in differences(run.record, first.record):
                where = f"{run.folder}: {field}: is {mine!r}, that of {first.folder} is {other!r}"
                problems.append(f"{where}, both {entry.name} in {entry.suite}/{cell}: give one configuration")
                break
    return problems
