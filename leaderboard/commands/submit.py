"""`python -m leaderboard submit RUNS`: makes an entry from the folders of a sweep, or adds seeds to one.

An entry appears whole, by a rename of a folder beside it. Nothing that is there already is ever changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from leaderboard.board.standings import REFERENCE
from leaderboard.entries.entry_file import ENTRY_FILE, EntryFile, read_entry
from leaderboard.entries.gather import CURVES, Found, gather, require_one_configuration, seeds_by_cell, shortfalls
from leaderboard.entries.places import RESULTS, WRITTEN
from leaderboard.interruption import held
from leaderboard.records.bounded import MAX_RECORD_BYTES, read_bytes
from leaderboard.records.record import Record, first_problem
from leaderboard.records.record_files import find_records
from leaderboard.writing import beside, writing

RECORD = "record.json"
OUT = WRITTEN / "results"
ENOUGH_SEEDS = 5
"""A cell, for a verdict over a whole suite."""

OPTIONS = {"trials": "tuning_trials", "seeds": "tuning_seeds", "note": "tuning_note"}
"""Options whose names are not those of the fields in `entry.yaml`."""


@dataclass(frozen=True)
class Submission:
    """The result of a submission.

    Attributes:
        folder: of the entry.
        added: folders of the seeds that were added, relative to it.
        cells: all seeds of the entry by cell.
        left_out: a line for each record that was not taken.
        missing: a line for each thing that the entry lacks.
    """

    folder: Path
    added: tuple[str, ...]
    cells: Mapping[str, tuple[int, ...]]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder that a sweep wrote: its --out, or one below it")
    parser.add_argument("--name", required=True, help="of the entry: lower-case letters, digits, - and _")
    parser.add_argument("--title", help="how the leaderboard calls it")
    parser.add_argument("--authors", help="with commas between")
    parser.add_argument("--licence", help="of the architecture's code, e.g. MIT")
    parser.add_argument("--paper", metavar="URL", help="https address of the paper")
    parser.add_argument("--code", metavar="URL", help="https address of the code")
    parser.add_argument(
        "--tuning_trials", type=int, metavar="N", help="runs looked at to choose hyperparameters; 0 if none were"
    )
    parser.add_argument("--tuning_seeds", metavar="SEEDS", help="of those runs, e.g. 1000-1001")
    parser.add_argument("--tuning_note", metavar="TEXT", help="what was varied, and on which cells")
    parser.add_argument("--architecture", metavar="NAME", help="which, if RUNS holds several")
    parser.add_argument("--suite", metavar="NAME", help="which, if RUNS holds several")
    parser.add_argument("--out", type=Path, default=OUT, metavar="PATH", help="folder of results (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Do what the options say and print it; returns the exit code, 0.

    Raises:
        ValueError: one line, see `submit`.
    """
    said = {name: value for name, value in vars(options).items() if name != "runs"}
    if options.authors is not None:
        said["authors"] = [name.strip() for name in options.authors.split(",")]
    done = submit(options.runs, **said)
    for line in done.left_out:
        print(f"left out  {line}")
    print(f"entry     {done.folder}: {len(done.added)} runs added, {sum(map(len, done.cells.values()))} in all")
    for line in done.missing:
        print(f"missing   {line}")
    for command in ("validate", "check"):
        print(f"next      python -m leaderboard {command} {done.folder}")
    return 0


def submit(
    runs: str | Path,
    *,
    name: str,
    title: str | None = None,
    authors: Sequence[str] | None = None,
    licence: str | None = None,
    paper: str | None = None,
    code: str | None = None,
    tuning_trials: int | None = None,
    tuning_seeds: str | None = None,
    tuning_note: str | None = None,
    architecture: str | None = None,
    suite: str | None = None,
    out: str | Path = OUT,
) -> Submission:
    """Gather records and curves of one architecture in one suite into `out/<suite>/<name>`, and write `entry.yaml`.

    An entry that is there gets the seeds that it lacks; what was said of it need not be said again.

    Args:
        runs: folder with records at any depth, as a sweep leaves them.
        name: of the entry, and of its folder.
        title, authors, licence, paper, code, tuning_trials, tuning_seeds, tuning_note: see `entries/entry_file.py`;
            title, authors, licence and tuning_trials are needed for a new entry, tuning_note with trials.
        architecture, suite: which, where `runs` holds several.
        out: folder of results.

    Raises:
        ValueError: one line with what is wrong and which option decides; nothing has been changed then.
    """
    found, left_out = gather(Path(runs), suite, architecture)
    record = found[0].record
    said: dict[str, Any] = {"title": title, "authors": authors and tuple(authors), "licence": licence}
    said |= {"paper": paper, "code": code}
    tuning = {"trials": tuning_trials, "seeds": tuning_seeds, "note": tuning_note}
    place = {"name": name, "suite": record.suite, "architecture": record.architecture.name}
    _entry_file({**place, "title": "x", "authors": ("x",), "licence": "x"}, {"trials": 0})  # the name is a folder's
    folder = Path(out) / str(record.suite) / name
    if os.path.lexists(folder):
        _require_same(folder, place | said, tuning)
        there = _runs_of(folder)
        new = list(_missing_from(folder, there, found))
        require_one_configuration([*there.items(), *((run.path, run.record) for run in new)])
        content = None
    else:
        there, new = {}, found
        content = _text(_entry_file(place | said, tuning))
    with held(), writing(folder):
        _write(folder, content, new)
    pairs = [(str(old.cell), old.seeds.task_seed) for old in there.values()] + [(run.cell, run.seed) for run in new]
    cells = seeds_by_cell(pairs)
    missing = tuple(shortfalls(cells, _cells_of_suite(Path(out), str(record.suite)), ENOUGH_SEEDS))
    added = tuple(f"{run.cell}/seed{run.seed}" for run in new)
    return Submission(folder, added, cells, tuple(left_out), missing)


def _entry_file(said: Mapping[str, Any], tuning: Mapping[str, Any]) -> EntryFile:
    """The content of a new `entry.yaml`; a ValueError names the option that is missing or wrong."""
    for option, value in {**said, "tuning_trials": tuning["trials"]}.items():
        if value is None and option not in {"paper", "code"}:
            raise ValueError(f"--{option} is missing: a new entry needs it")
    about = dict(tuning)
    if about["trials"] == 0 and about.get("note") is None:
        about["note"] = "nothing was tuned"
    if about["trials"] and None in (about["note"], about["seeds"]):
        raise ValueError("--tuning_seeds and --tuning_note are missing: trials need both")
    try:
        return EntryFile.model_validate({"schema_version": 1, "paper": None, "code": None, **said, "tuning": about})
    except ValidationError as error:
        field, _, reason = first_problem(error).partition(": ")
        parts = [part for part in field.split(".") if part != "tuning"] or [field]
        raise ValueError(f"--{OPTIONS.get(parts[0], parts[0])}: {reason}") from error


def _text(entry: EntryFile) -> str:
    content = entry.model_dump(mode="json")
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _require_same(folder: Path, said: Mapping[str, Any], tuning: Mapping[str, Any]) -> None:
    """Raise a ValueError of one line if an option says otherwise than the entry that is there."""
    if not folder.is_dir() or folder.is_symlink() or not (folder / ENTRY_FILE).is_file():
        raise ValueError(f"{folder}: exists, but is no entry (it has no {ENTRY_FILE}): choose another --name")
    there = read_entry(folder / ENTRY_FILE)
    for values, old in ((said, there), (tuning, there.tuning)):
        for field, value in values.items():
            if value is not None and value != (kept := getattr(old, field)):
                raise ValueError(
                    f"{folder / ENTRY_FILE}: says {field} {kept!r}, --{OPTIONS.get(field, field)} {value!r}:"
                    " an entry that is there stays as it is; choose another --name"
                )


def _runs_of(folder: Path) -> dict[Path, Record]:
    """The records of an entry that is there."""
    records: dict[Path, Record] = {}
    for path, found in find_records(folder):
        if isinstance(found, ValueError):
            raise found
        records[path] = found
    return records


def _missing_from(folder: Path, there: Mapping[Path, Record], found: Sequence[Found]) -> Iterator[Found]:
    """Runs whose seeds the entry lacks."""
    for run in found:
        target = folder / run.cell / f"seed{run.seed}"
        if not os.path.lexists(target):
            yield run
        elif target / RECORD not in there or read_bytes(target / RECORD, MAX_RECORD_BYTES) != run.content:
            raise ValueError(f"{target}: holds another run than {run.path}, and none is ever replaced")


def _write(folder: Path, content: str | None, new: Sequence[Found]) -> None:
    """Make a new entry, or add runs to one (`content` is None), each folder whole by a rename.

    Raises:
        OSError: if something cannot be written; then all is as it was before.
    """
    made = [parent for parent in folder.parents if not parent.exists()]
    fresh = beside(folder, "tmp")
    moved: list[Path] = []
    done = False
    try:
        for run in new:
            place = fresh / run.cell / f"seed{run.seed}"
            place.mkdir(parents=True)
            (place / RECORD).write_bytes(run.content)
            (place / CURVES).write_bytes(run.curves)
        if content is not None:
            (fresh / ENTRY_FILE).write_text(content, encoding="utf-8")
            os.rename(fresh, folder)
        for run in new if content is None else ():
            target = folder / run.cell / f"seed{run.seed}"
            if not target.parent.exists():
                target.parent.mkdir()
                moved.append(target.parent)
            os.rename(fresh / run.cell / target.name, target)
            moved.append(target)
        done = True
    finally:
        if not done:  # after a kill the same command goes on
            for path in reversed(moved):
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(fresh, ignore_errors=True)
        for parent in made if not done else ():
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()


def _cells_of_suite(out: Path, suite: str) -> set[str]:
    """The cells of the reference entry; none if it is not there."""
    for results in (out, RESULTS):
        cells = {path.parents[1].name for path in (results / suite / REFERENCE).glob(f"*/seed*/{RECORD}")}
        if cells:
            return cells
    return set()
