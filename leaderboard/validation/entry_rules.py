"""Checks records of entries together: one configuration per cell, the suite's protocol, no copies."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from leaderboard.board.standings import REFERENCE
from leaderboard.entries.entry_file import ENTRY_FILE, EntryFile, read_entry
from leaderboard.records.bounded import read_bytes
from leaderboard.records.configuration import CONFIGURATION, differences
from leaderboard.records.record import Record, parse_record
from leaderboard.validation.entry_folder import LINK, MAX_SIZES, RECORD, EntryFolder
from leaderboard.validation.forgery.suite_rules import cell_problems, choice_problems, size_problems, suite_cells
from leaderboard.validation.report import Problem
from leaderboard.validation.run_rules import CheckedRun, problem_of, record_problems

# What seeds of a cell must share; parameters and the loss of chance follow from the configuration and the task.
_SHARED = (*CONFIGURATION, "parameters", "chance_loss_nats", "state_bytes", "flops_per_token")

LOSS_TOLERANCE = 1e-6  # of losses computed in float64 on two machines


def entry_problems(
    entry: EntryFolder, runs: list[CheckedRun], references: Iterable[Path], accepted: Collection[str] = ()
) -> Iterator[Problem]:
    """Everything that is wrong with an entry but the files of its runs.

    Args:
        entry: its folder.
        runs: the records that could be read.
        references: folders of the suite's reference entry, those that may not exist included.
        accepted: files of records that stand in the results already: they may lack what came later.
    """
    said: EntryFile | None = None
    if entry.has_file:
        try:
            said = read_entry(entry.path / ENTRY_FILE)
        except ValueError as error:
            yield problem_of(str(entry.path / ENTRY_FILE), error)
        else:
            yield from _file_problems(entry, said)
    cells: dict[str, list[CheckedRun]] = {}
    for run in runs:
        cells.setdefault(run.folder.path.parent.name, []).append(run)
        for field, reason in _place_problems(entry, said, run):
            yield Problem(run.file, field, reason)
        for field, reason in record_problems(run.record):
            yield Problem(run.file, field, reason)
        if run.record.init_hash is None and run.file not in accepted:
            yield Problem(run.file, "init_hash", "is missing: every new record has the hash of its initial weights")
    yield from _together(entry, runs, cells, references)


def _together(
    entry: EntryFolder, runs: list[CheckedRun], cells: dict[str, list[CheckedRun]], references: Iterable[Path]
) -> Iterator[Problem]:
    """Runs held against one another, the suite and its reference."""
    suite = suite_cells(entry.suite)
    if suite:
        for run in runs:
            yield from cell_problems(run, suite)
    yield from choice_problems(runs, suite)
    for name, of_cell in cells.items():
        for run in of_cell[1:]:
            for field, reason in _differences(of_cell[0], run):
                yield Problem(run.file, field, reason)
        yield from _repeated(of_cell, "first_losses_nats")
        yield from _repeated(of_cell, "first_batch_hash")
        yield from _repeated(of_cell, "init_hash")
        for folder in references:
            yield from _reference_problems(folder / name, of_cell, suite)


def _file_problems(entry: EntryFolder, said: EntryFile) -> Iterator[Problem]:
    file = str(entry.path / ENTRY_FILE)
    for field in ("suite", "name"):
        if (value := getattr(said, field)) != getattr(entry, field):
            yield Problem(file, field, f"is {value!r}, but the folder is {entry.suite}/{entry.name}")


def _place_problems(entry: EntryFolder, said: EntryFile | None, run: CheckedRun) -> Iterator[tuple[str, str]]:
    record, cell, seed = run.record, run.folder.path.parent.name, run.folder.seed
    if record.suite != entry.suite:
        yield "suite", f"is {record.suite!r}, but the folder is of suite {entry.suite!r}"
    if record.cell != cell:
        yield "cell", f"is {record.cell!r}, but the folder is of cell {cell!r}"
    for name, value in record.seeds:
        if value != seed:
            yield f"seeds.{name}", f"is {value}, but the folder is seed{seed}"
    if said is not None and record.architecture.name != said.architecture:
        yield "architecture.name", f"is {record.architecture.name!r}, {ENTRY_FILE} says {said.architecture!r}"


def _differences(first: CheckedRun, run: CheckedRun) -> Iterator[tuple[str, str]]:
    """The fields that differ from those of the first seed of the cell."""
    for field, mine, other in differences(run.record, first.record, _SHARED):
        yield field, f"is {mine!r}, that of {first.folder.path.name} is {other!r}: a cell has one configuration"


def _repeated(runs: list[CheckedRun], field: str) -> Iterator[Problem]:
    """Problems of seeds that agree in a field: they differ in weights and sequences, so each saw other values first."""
    seen: dict[Hashable, CheckedRun] = {}
    for run in runs:
        value = getattr(run.record, field)
        if value and (first := seen.setdefault(value, run)) is not run:
            yield Problem(run.file, field, f"equal those of {first.folder.path.name}: one run twice")


def _reference_problems(cell: Path, runs: list[CheckedRun], suite: Mapping[str, Any]) -> Iterator[Problem]:
    """Differences from the reference entry in the same cell: the protocol, and the sequences of the same seed."""
    if link := next((folder for folder in (cell.parent, cell) if folder.is_symlink()), None):
        yield Problem(str(link), "file", LINK)
        return
    if cell.resolve() == runs[0].folder.path.parent.resolve() or not (theirs := _reference_records(cell)):
        return
    reference = theirs[min(theirs)]
    for run in runs:
        record = run.record
        if record.protocol_hash != reference.protocol_hash:
            field, ours, other = next(differences(record, reference, ("task", "protocol")))
            yield Problem(run.file, field, f"is {ours!r}, that of the suite's {REFERENCE} is {other!r}")
            continue
        yield from size_problems(run, reference, suite)
        if (same := theirs.get(record.seeds.data_seed)) is None:
            continue
        if record.first_batch_hash != same.first_batch_hash:
            reason = f"is not that of the suite's {REFERENCE}: the same seed reads the same sequences"
            yield Problem(run.file, "first_batch_hash", reason)
        for field in ("chance_loss_nats", "floor_loss_nats"):
            ours, other = getattr(record, field), getattr(same, field)
            if (ours is None) != (other is None) or abs((ours or 0.0) - (other or 0.0)) > LOSS_TOLERANCE:
                yield Problem(
                    run.file, field, f"is {ours}, that of the same seed of the suite's {REFERENCE} is {other}"
                )


def _reference_records(cell: Path) -> dict[int, Record]:
    """Records by seed; one that cannot be read is left out here, and named where that entry is validated."""
    found: dict[int, Record] = {}
    for path in cell.glob(f"seed*/{RECORD}"):
        seed = path.parent.name.removeprefix("seed")
        if seed.isdecimal() and not path.parent.is_symlink():
            with contextlib.suppress(ValueError):
                found[int(seed)] = parse_record(read_bytes(path, MAX_SIZES[RECORD], links=False))
    return found


def unknown_cells(entry: EntryFolder, references: Iterable[Path]) -> Iterator[str]:
    """A note for each cell that no reference entry has, so that nothing says what its protocol should be."""
    known = {
        path.name for folder in references if folder.is_dir() and not folder.is_symlink() for path in folder.iterdir()
    }
    for cell in sorted(entry.cells.keys() - known) if known else []:
        yield f"{entry.path / cell}: the suite's {REFERENCE} has no such cell: its protocol was not compared"


def copies(runs: Iterable[CheckedRun], others: Iterable[CheckedRun] = ()) -> Iterator[Problem]:
    """Runs of all entries that stand in two places, or that `others`, which are blamed for nothing, hold too."""
    seen: dict[Hashable, CheckedRun] = {}
    for blamed, run in [*((False, run) for run in others), *((True, run) for run in runs)]:
        record = run.record
        keys: list[tuple[str, Hashable]] = [("started_at", record.run_id)]
        if record.curves is not None:
            keys.append(("curves.sha256", record.curves.sha256))
        for field, key in keys:
            if (first := seen.setdefault((field, key), run)) is not run and blamed:
                yield Problem(run.file, field, f"is that of {first.file}: the same run in two places")
                break
