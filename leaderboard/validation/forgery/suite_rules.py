"""An entry held against its suite: what the suite decides, and what may not differ from cell to cell.

The suite decides task, budget, tokens of a step, held-out set and targets, width and depth; one that leaves the width
open decides the number of parameters instead. Everything else is the entry's choice, made once: all options of the
architecture and the learning rate for a task, the other settings of the optimizer and the precision for the whole
entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from leaderboard.entries.places import SUITES
from leaderboard.records.bounded import parse_yaml, read_bytes
from leaderboard.records.record import Record
from leaderboard.validation.report import Problem
from leaderboard.validation.run_rules import CheckedRun

SIZES = ("d_model", "n_layers")
MAX_PARAMETERS = 2.0
"""Times those of the reference; the committed entries of a cell have 0.6 to 1.8 times as many."""

MATCHED = 0.1
"""Largest deviation from the reference's number of parameters, as a share, where the suite leaves the width open."""

MAX_SUITE_BYTES = 100_000


def suite_cells(suite: str, folder: Path = SUITES) -> dict[str, Any]:
    """The cells of a suite by name, as its file in this repository or package has them; none if there is no such file.

    Raises:
        ValueError: one line, if the file cannot be read.
    """
    path = folder / f"{suite}.yaml"
    if not path.is_file():
        return {}
    content = parse_yaml(read_bytes(path, MAX_SUITE_BYTES), aliases=True)
    return dict(content["cells"])


def size_problems(run: CheckedRun, reference: Record, cells: Mapping[str, Any]) -> Iterator[Problem]:
    """Differences from the reference entry in the same cell in what the suite decides of a model.

    Args:
        run: of the entry.
        reference: a run of the reference in the cell.
        cells: of the suite by name, as of `suite_cells`; without the cell, width and depth are the reference's.
    """
    ours, theirs = run.record.architecture.config, reference.architecture.config
    fixed = cells.get(str(run.record.cell), {"model": SIZES}).get("model") or ()
    for name in SIZES:
        if name in fixed and name in ours and name in theirs and ours[name] != theirs[name]:
            reason = f"is {ours[name]!r}, but the suite decides it: {theirs[name]!r}"
            yield Problem(run.file, f"architecture.config.{name}", reason)
            return
    if run.record.parameters > (most := MAX_PARAMETERS * reference.parameters):
        reason = f"are {run.record.parameters:,}, more than {MAX_PARAMETERS:g} times the reference's: {most:,.0f}"
        yield Problem(run.file, "parameters", reason)
    elif "d_model" not in fixed and abs(run.record.parameters / reference.parameters - 1) > MATCHED:
        reason = f"are {run.record.parameters:,}, which must be within {MATCHED:.0%} of {reference.parameters:,}"
        yield Problem(run.file, "parameters", f"{reason}, the reference's: the suite leaves the width open")


def cell_problems(run: CheckedRun, cells: Mapping[str, Any]) -> Iterator[Problem]:
    """Differences of a record from its cell in the suite's file: of whatever is written there."""
    record, name = run.record, run.folder.path.parent.name
    if name not in cells:
        yield Problem(run.file, "cell", f"is {name!r}, which the suite does not have: {', '.join(sorted(cells))}")
        return
    cell = cells[name]
    task, options = cell["data"]["class_path"].rpartition(".")[2], dict(cell["data"].get("init_args") or {})
    if record.task.name != task:
        yield Problem(run.file, "task.name", f"is {record.task.name!r}, the suite says {task!r}")
        return
    said: dict[str, Any] = {}
    if (batch := options.pop("batch_size", None)) is not None and record.task.config.keys() >= {"state_size"}:
        tokens = record.task.config["state_size"], record.task.config.get("n_states", 1)
        said["protocol.tokens_per_step"] = batch * tokens[0] * tokens[1]
    said |= {f"protocol.{key}": options.pop(key) for key in ("tokens_per_step", "eval_sequences") if key in options}
    said |= {f"task.config.{key}": value for key, value in options.items()}
    said |= {f"protocol.{key}": value for key, value in (cell.get("protocol") or {}).items()}
    sizes = {key: value for key, value in (cell.get("model") or {}).items() if key in SIZES}
    said |= {f"architecture.config.{key}": value for key, value in sizes.items()}
    fields = record.model_dump(mode="json", include={"task", "protocol", "architecture"})
    for key, value in said.items():
        *parents, last = key.split(".")
        place = fields
        for parent in parents:
            place = place[parent]
        if last in place and place[last] != value:
            yield Problem(run.file, key, f"is {place[last]!r}, but the suite decides it: {value!r}")
            return


def choice_problems(runs: list[CheckedRun], cells: Mapping[str, Any]) -> Iterator[Problem]:
    """Settings of an entry that differ from cell to cell, though the suite does not set them: at most one a cell.

    Args:
        runs: of an entry; the first of each cell is looked at, because a cell has one configuration.
        cells: of the suite's file.
    """
    first_of_cell: dict[str, CheckedRun] = {}
    for run in runs:
        first_of_cell.setdefault(run.folder.path.parent.name, run)
    first_of_task: dict[str, CheckedRun] = {}
    by_suite = {name: _set_by_suite(cell) for name, cell in cells.items()}
    for cell, run in first_of_cell.items():
        same_task, entry = first_of_task.setdefault(run.record.task.name, run), runs[0]
        for other, scope in ((same_task, "task"), (entry, "entry")):
            there = other.folder.path.parent.name
            left = by_suite.get(cell, _sizes()) | by_suite.get(there, _sizes())
            ours, theirs = (_choices(each.record, scope) for each in (run, other))
            differing = [name for name in {**ours, **theirs} if name not in left and ours.get(name) != theirs.get(name)]
            if differing:
                name = differing[0]
                values = f"is {ours.get(name)!r}, that of cell {there} is {theirs.get(name)!r}"
                yield Problem(run.file, name, f"{values}: an entry has one setting for all cells of {_SCOPES[scope]}")
                break


_SCOPES = {"task": "a task", "entry": "a suite"}


def _choices(record: Record, scope: str) -> dict[str, Any]:
    """The settings that may not differ between cells of a task (options, learning rate), or of an entry (the rest)."""
    optimizer = {f"optimizer.{name}": value for name, value in record.optimizer.items() if name not in _DERIVED}
    if scope == "entry":
        whole = {"precision": record.precision, "architecture.version": record.architecture.version}
        return {**{name: value for name, value in optimizer.items() if name != _RATE}, **whole}
    options = {f"architecture.config.{name}": value for name, value in record.architecture.config.items()}
    return {**options, _RATE: optimizer.get(_RATE)}


_RATE = "optimizer.lr"
_DERIVED = {"no_weight_decay", "lr_factors"}
"""Lists of names of parameters, which follow from architecture and depth; a replay compares them."""


def _set_by_suite(cell: Mapping[str, Any]) -> set[str]:
    """Settings that the suite makes for a cell."""
    model, optimizer = (cell.get(part) or {} for part in ("model", "optimizer"))
    return {f"architecture.config.{name}" for name in model} | {f"optimizer.{name}" for name in optimizer}


def _sizes() -> set[str]:
    return {f"architecture.config.{name}" for name in SIZES}
