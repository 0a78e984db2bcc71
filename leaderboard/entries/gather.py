"""Gathers what an entry needs from the folders of a sweep: the records of one architecture in one suite."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leaderboard.mistakes import unknown
from leaderboard.records.bounded import MAX_CURVES_BYTES, MAX_RECORD_BYTES, read_bytes
from leaderboard.records.configuration import differences
from leaderboard.records.file_names import name_problem
from leaderboard.records.record import FINAL_STATUSES, Record
from leaderboard.records.record_files import find_records

CURVES = "curves.parquet"
_CELL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,=-]*")  # a folder's name


@dataclass(frozen=True)
class Found:
    """A run that can be handed in.

    Attributes:
        path: of its record.
        content: of that file, as it was when it was read.
        curves: content of the file beside it.
    """

    path: Path
    record: Record
    content: bytes
    curves: bytes

    @property
    def cell(self) -> str:
        """Its cell."""
        assert self.record.cell is not None
        return self.record.cell

    @property
    def seed(self) -> int:
        """Its seed: all three are the same."""
        return self.record.seeds.task_seed


def gather(runs: Path, suite: str | None, architecture: str | None) -> tuple[list[Found], list[str]]:
    """The runs of one architecture in one suite, by cell and seed, and a line for each record that was left out.

    Args:
        runs: folder with records at any depth.
        suite: which; None if there is only one.
        architecture: its registered name; None if there is only one.

    Raises:
        ValueError: one line, if there is no such run, more than one suite or architecture to choose from, one seed
            twice, two configurations in a cell, or curves that are missing or not those of their record.
    """
    records: list[tuple[Path, Record]] = []
    left_out: list[str] = []
    for path, record in find_records(runs):
        if isinstance(record, ValueError):
            left_out.append(str(record))
        elif record.suite is None or record.cell is None:
            left_out.append(f"{path}: belongs to no cell of a suite: entries are made of a suite's sweep as it is")
        else:
            records.append((path, record))
    if not records:
        reasons = f" ({left_out[0]})" if left_out else ""
        raise ValueError(f"{runs}: holds no record of a suite's cell{reasons}")
    suite = _chosen(runs, "suite", suite, {str(record.suite) for _, record in records})
    records = [(path, record) for path, record in records if record.suite == suite]
    architecture = _chosen(runs, "architecture", architecture, {record.architecture.name for _, record in records})
    found: list[Found] = []
    for path, record in records:
        if record.architecture.name != architecture:
            continue
        if reason := _reason_to_leave_out(record):
            left_out.append(f"{path}: {reason}")
        else:
            found.append(_with_curves(path, record))
    if not found:
        raise ValueError(f"{runs}: no run of {architecture} in suite {suite} has an outcome ({left_out[-1]})")
    found.sort(key=lambda run: (run.cell, run.seed))
    for first, second in zip(found, found[1:], strict=False):
        if (first.cell, first.seed) == (second.cell, second.seed):
            raise ValueError(f"seed {first.seed} of {first.cell} is there twice: give RUNS without one of {first.path}"
                             f" and {second.path}")  # fmt: skip
    require_one_configuration((run.path, run.record) for run in found)
    return found, left_out


def require_one_configuration(runs: Iterable[tuple[Path, Record]]) -> None:
    """Raise a ValueError of one line if records of one cell differ in more than their seeds."""
    first_of: dict[str | None, tuple[Path, Record]] = {}
    for path, record in runs:
        first_path, first = first_of.setdefault(record.cell, (path, record))
        for where, mine, other in differences(record, first):
            raise ValueError(
                f"two configurations in {record.cell}: {where} is {mine!r} in {path} and {other!r} in {first_path}:"
                " give as RUNS a folder with one of them only"
            )


def _chosen(runs: Path, what: str, asked: str | None, names: set[str]) -> str:
    known = ", ".join(sorted(names))
    if asked is None:
        if len(names) > 1:
            raise ValueError(f"{runs}: holds records of {len(names)} {what}s ({known}): choose one with --{what}")
        return names.pop()
    if asked not in names:
        raise ValueError(f"{runs}: {unknown(what, asked, sorted(names))}")
    return asked


def _reason_to_leave_out(record: Record) -> str | None:
    if record.status not in FINAL_STATUSES:
        return f"status {record.status} is no outcome: the same sweep goes on with it"
    if record.intervention is not None:
        return f"is {record.intervention.text}: such a run is never part of an entry"
    if len(set(record.seeds.model_dump().values())) > 1:
        return "its three seeds differ: an entry's run has one seed for all"
    assert record.cell is not None
    if not _CELL.fullmatch(record.cell) or name_problem(record.cell):
        return f"cell {record.cell!r} is no name of a folder"
    return None


def _with_curves(path: Path, record: Record) -> Found:
    """A run with the content of its files.

    Raises:
        ValueError: one line, if the curves are not there or not those that the record names.
    """
    if record.curves is None:
        raise ValueError(f"{path}: curves: is null, but an entry's run has its curves beside it")
    file = path.parent / CURVES
    content, curves = read_bytes(path, MAX_RECORD_BYTES), read_bytes(file, MAX_CURVES_BYTES)
    if record.curves.file != CURVES or hashlib.sha256(curves).hexdigest() != record.curves.sha256:
        raise ValueError(f"{file}: is not the file that {path} names (curves.sha256): train this seed again")
    return Found(path, record, content, curves)


def seeds_by_cell(runs: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """The seeds of every cell, both in order, of pairs (cell, seed)."""
    cells: dict[str, set[int]] = {}
    for cell, seed in runs:
        cells.setdefault(cell, set()).add(seed)
    return {cell: tuple(sorted(cells[cell])) for cell in sorted(cells)}


def shortfalls(cells: dict[str, tuple[int, ...]], known: Iterable[str], enough: int) -> Iterator[str]:
    """A line for everything that an entry still lacks: cells, seeds up to `enough`, seeds in between.

    Args:
        cells: the entry's seeds by cell.
        known: names of the suite's cells.
        enough: seeds per cell that a verdict over the whole suite needs.
    """
    for cell in sorted({*known, *cells}):
        seeds = cells.get(cell, ())
        if not seeds:
            yield f"cell {cell} has no record: an entry without it is not ranked"
        elif gaps := sorted(set(range(max(seeds))) - set(seeds)):
            names = ", ".join(map(str, gaps[:10])) + (", ..." if len(gaps) > 10 else "")
            yield f"cell {cell} lacks seeds {names}: seeds run from 0 upwards without gaps"
        elif len(seeds) < enough:
            yield f"cell {cell} has {len(seeds)} of the {enough} seeds that a verdict needs"
