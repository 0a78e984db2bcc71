"""Columns of entries, of their results in cells, and of records without an entry.

A row has `measured`: the statistics of the cells that it sums up. They are several for a standing, one for a row of a
cell or of other records, and none where a cell is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leaderboard.board.columns.column import Code, Column, EntryName, Name, Table, Text, add
from leaderboard.board.standings import REFERENCE, CellRow, Result, Standing, Statistics, SummaryRow
from leaderboard.board.wording import (
    NOTHING,
    count_text,
    median_text,
    number_text,
    p_text,
    range_text,
    ratio_text,
    short_text,
    solved_text,
    speed_text,
)
from leaderboard.statistics.time_ratio import Ratio
from leaderboard.statistics.verdict import MIN_SEEDS, MIN_SEEDS_ONE_CELL

HEADLINE, FACTS, CELL, RESULTS = Table.HEADLINE, Table.FACTS, Table.CELL, Table.RESULTS
CSV, OTHERS = Table.CSV, Table.OTHERS
STATUSES = ("solved", "censored", "diverged", "error", "interrupted")
MISSING = "missing"
Row = Standing | CellRow | SummaryRow


def _result(read: Callable[[Result], Any]) -> Callable[[CellRow], Any]:
    """A value of the result in a cell; None where it is missing."""
    return lambda row: None if row.result is None else read(row.result)


def _runs(read: Callable[[Statistics], Any], default: Any = None) -> Callable[[CellRow | SummaryRow], Any]:
    """A value of the only statistics of a row; the default where they are missing."""
    return lambda row: read(row.measured[0]) if row.measured else default


def _total(name: str) -> Callable[[Row], int]:
    return lambda row: sum(getattr(runs, name) for runs in row.measured)


def _ended(status: str) -> Callable[[CellRow], int | None]:
    return _runs(lambda runs: runs.statuses.get(status, 0))


def _every(name: str) -> Callable[[Row], list[Any]]:
    return lambda row: [getattr(runs, name) for runs in row.measured]


def _standing(row: Standing | CellRow) -> Standing:
    return row if isinstance(row, Standing) else row.standing


# Places and names ---------------------------------------------------------------------------------------------------

add(Column("suite", tables={CSV: 1}, values={"suite": lambda row: row.standing.suite}))
add(Column("task", lambda row: Name(row.task), {OTHERS: 1}, heads_row=True))
add(Column("architecture", lambda row: Name(row.architecture), {OTHERS: 2}))
add(
    Column(
        "cell",
        lambda row: Name(row.cell.label),
        {RESULTS: 1, CSV: 6},
        values={"cell": lambda row: row.cell.name, "task": lambda row: row.cell.label},
        heads_row=True,
    )
)
add(
    Column(
        "entry",
        lambda row: EntryName(_standing(row), brief=isinstance(row, CellRow)),
        {HEADLINE: 2, CELL: 2, CSV: 2},
        order=lambda row: _standing(row).title.lower(),
        values={"entry": lambda row: row.standing.name, "title": lambda row: row.standing.title},
        heads_row=True,
    )
)
add(
    Column(
        "protocol",
        lambda row: row.protocol_hash[:8],
        {OTHERS: 3, CSV: 8},
        values={
            "eval_every_steps": lambda row: row.cell.eval_every,
            "tokens_per_step": lambda row: row.cell.tokens_per_step,
            "target": lambda row: row.cell.primary,
            "protocol_hash": lambda row: row.cell.protocol_hash,
        },
        formats=frozenset({"text", "markdown"}),
    )
)
add(
    Column(
        "budget",
        lambda row: number_text(row.budget),
        {OTHERS: 4, CSV: 7},
        order=lambda row: row.budget,
        numeric=True,
        values={"budget_steps": lambda row: row.cell.budget},
    )
)

# Ranks and speed of learning ----------------------------------------------------------------------------------------

add(
    Column(
        "rank",
        lambda row: number_text(row.rank),
        {HEADLINE: 1, CSV: 4},
        order=lambda row: row.rank,
        numeric=True,
        values={"suite_rank": lambda row: row.standing.rank},
        explanation=f"A band: entries that the permutation test cannot tell apart share one. It takes every cell and "
        f"{MIN_SEEDS} seeds in each, and {MIN_SEEDS_ONE_CELL} seeds for a cell by itself. A cell without runs is named "
        "as missing: nothing is averaged over the gap, so the entry has no headline and no rank.",
    )
)
add(
    Column(
        "rank",
        lambda row: number_text(_result(lambda result: result.rank)(row)),
        {CELL: 1, RESULTS: 2, CSV: 16},
        order=_result(lambda result: result.rank),
        numeric=True,
        values={"rank": _result(lambda result: result.rank)},
    )
)


def _headline(row: Standing) -> Text:
    """The ratio over all cells, or the names of the cells that are in its way."""
    silent = [result.cell for result in row.measured if not result.n]
    for reason, cells in ((MISSING, row.missing), ("no outcome", silent)):
        if cells:
            return (f"{reason}: ", *[piece for cell in cells for piece in (", ", Code(cell))][1:])
    return ratio_text(row.ratio, row.is_reference)


def _ratio_order(row: Standing | CellRow) -> float | None:
    ratio = row.ratio if isinstance(row, Standing) else row.result and row.result.ratio
    return 1.0 if _standing(row).is_reference and row.measured else ratio.estimate if ratio else None


def _ratio_values(prefix: str, ratio_of: Callable[[Any], Ratio | None]) -> dict[str, Callable[[Any], Any]]:
    def read(name: str) -> Callable[[Any], Any]:
        return lambda row: getattr(ratio_of(row), name, None)

    names = {"ratio": "estimate", "ratio_low_95": "low", "ratio_high_95": "high"}
    return {f"{prefix}{name}": read(field) for name, field in names.items()}


_CELL_RATIO = _result(lambda result: result.ratio)

add(
    Column(
        f"times the {REFERENCE}'s steps",
        _headline,
        {HEADLINE: 3, CSV: 5},
        order=lambda row: None if row.missing else _ratio_order(row),
        numeric=True,
        values={
            **_ratio_values("suite_", lambda row: row.standing.ratio),
            "suite_p": lambda row: row.standing.ratio and row.standing.ratio.p,
        },
        style=lambda row: MISSING if row.missing else "headline",
        explanation=f"How many times the steps of the reference, `{REFERENCE}`, are needed: 2x takes twice as many, "
        "0.5x half. Stratified over the cells, with its 95 % interval; from ranks, by a permutation test within cells. "
        "`(1.4+)`: the data do not bound it from above; `> 1.4x`: they give nothing but this bound.",
    )
)
add(
    Column(
        "solved",
        lambda row: f"{_total('n_solved')(row)}/{_total('n')(row)}",
        {HEADLINE: 4},
        order=lambda row: _total("n_solved")(row) / n if (n := _total("n")(row)) else None,
        numeric=True,
        explanation="Runs that hit the target within the budget, of all runs with an outcome; in brackets Wilson's "
        "95 % interval.",
    )
)
add(Column("n", lambda row: str(row.n), {OTHERS: 5, CSV: 10}, numeric=True, values={"n": _runs(lambda runs: runs.n)},
           formats=frozenset({"text", "markdown"})))  # fmt: skip
add(
    Column(
        "solved",
        _runs(solved_text, MISSING),
        {CELL: 3, RESULTS: 3, OTHERS: 6, CSV: 11},
        order=_runs(lambda runs: runs.n_solved / runs.n if runs.n else None),
        numeric=True,
        values={
            "n_solved": _runs(lambda runs: runs.n_solved),
            "solved_low_95": _runs(lambda runs: runs.solved_low),
            "solved_high_95": _runs(lambda runs: runs.solved_high),
        },
        style=lambda row: "" if row.measured else MISSING,
    )
)


def _median_order(runs: Statistics) -> float | None:
    """A median beyond the budget sorts after those within it, by how few of the runs were solved."""
    beyond = 2.0 * runs.budget * (2 - runs.n_solved / runs.n) if runs.n else None
    return beyond if runs.median.step is None else runs.median.step


add(
    Column(
        "median step",
        _runs(lambda runs: median_text(runs.median, runs.budget) if runs.n else NOTHING, NOTHING),
        {CELL: 4, RESULTS: 4, OTHERS: 7, CSV: 12},
        order=_runs(_median_order),
        numeric=True,
        values={
            "median_step": _runs(lambda runs: runs.median.step),
            "median_low_95_step": _runs(lambda runs: runs.median.low),
            "median_high_95_step": _runs(lambda runs: runs.median.high),
        },
        explanation="The step by which half of the runs have solved the task, from the Kaplan-Meier curve, which "
        "counts unsolved runs for as long as they ran. `> 4,000`: fewer than half did within 4,000 steps. `(900+)`: "
        "the data do not bound the median from above.",
    )
)
add(
    Column(
        "mean step",
        lambda row: number_text(_runs(lambda runs: runs.restricted_mean_step)(row)),
        {CELL: 5, RESULTS: 5, OTHERS: 8, CSV: 13},
        order=_runs(lambda runs: runs.restricted_mean_step),
        numeric=True,
        values={"restricted_mean_step": _runs(lambda runs: runs.restricted_mean_step)},
        explanation="The restricted mean: of min(step, budget). It always exists: a run that did not solve its task "
        "counts with the budget, and never drops out.",
    )
)
add(
    Column(
        f"times the {REFERENCE}'s steps",
        lambda row: ratio_text(_CELL_RATIO(row), row.standing.is_reference and row.result is not None),
        {CELL: 6, RESULTS: 6, CSV: 14},
        order=_ratio_order,
        numeric=True,
        values=_ratio_values("", _CELL_RATIO),
    )
)
add(
    Column(
        "p",
        lambda row: p_text(getattr(_CELL_RATIO(row), "p", None)),
        {CELL: 7, RESULTS: 7, CSV: 15},
        order=lambda row: getattr(_CELL_RATIO(row), "p", None),
        numeric=True,
        values={"p": lambda row: getattr(_CELL_RATIO(row), "p", None)},
        explanation="Of a permutation test of equal speed, which ranks runs within cells: solved ones by step, "
        "unsolved ones by their loss.",
    )
)

# Cost and origin ----------------------------------------------------------------------------------------------------

add(
    Column(
        "parameters",
        lambda row: range_text(_every("parameters")(row)),
        {HEADLINE: 5, FACTS: 1, CSV: 17},
        order=lambda row: max(_every("parameters")(row), default=None),
        numeric=True,
        values={"parameters": _runs(lambda runs: runs.parameters)},
        explanation="A range over the cells where they differ, as tokens/s and seeds are.",
    )
)
add(
    Column(
        "state",
        lambda row: short_text(_every("state_bytes")(row), "B"),
        {FACTS: 2, CSV: 19},
        values={"state_bytes": _runs(lambda runs: runs.state_bytes)},
    )
)
add(
    Column(
        "FLOPs per token",
        lambda row: short_text(_every("flops_per_token")(row)),
        {FACTS: 3, CSV: 18},
        values={"flops_per_token": _runs(lambda runs: runs.flops_per_token)},
    )
)
_SPEED = add(
    Column(
        "tokens/s",
        lambda row: speed_text(row.measured),
        {HEADLINE: 6, FACTS: 4, CSV: 20},
        order=lambda row: max((speed for runs in row.measured for speed in runs.tokens_per_s.values()), default=None),
        numeric=True,
        values={"tokens_per_s_": _runs(lambda runs: runs.tokens_per_s, {})},
        explanation="Tokens per second of training, the median over runs that were trained alone, by device.",
    )
)
add(replace(_SPEED, tables={OTHERS: 9}, order=None, numeric=False, explanation=""))
_SEEDS = add(
    Column(
        "seeds",
        lambda row: range_text(_every("n")(row)),
        {HEADLINE: 7},
        order=lambda row: min(_every("n")(row), default=None),
        numeric=True,
    )
)
add(replace(_SEEDS, tables={CELL: 8}, formats=frozenset({"html"})))  # elsewhere `solved` says it
add(
    Column(
        "runs by status",
        _runs(lambda runs: ", ".join(f"{n} {status}" for status, n in sorted(runs.statuses.items())), NOTHING),
        {RESULTS: 8, CSV: 21},
        values={f"runs_{status}": _ended(status) for status in STATUSES},
    )
)
add(
    Column(
        "run",
        lambda row: row.first_date if row.first_date == row.last_date else f"{row.first_date} to {row.last_date}",
        {FACTS: 5},
    )
)
add(
    Column(
        "date",
        lambda row: row.last_date,
        {HEADLINE: 8, CSV: 22},
        values={"first_date": _runs(lambda runs: runs.first_date), "last_date": _runs(lambda runs: runs.last_date)},
    )
)


def _origin(row: Standing | CellRow) -> str:
    return "verified" if _standing(row).verified else "self-reported"


add(
    Column(
        "records",
        _origin,
        {HEADLINE: 9, CSV: 3},
        order=_origin,
        values={"records": _origin},
        style=lambda row: f"badge {_origin(row)}",
        explanation="`self-reported` by the entry's authors, or `verified`: the maintainers ran or replayed the "
        "records themselves.",
    )
)


def _note(row: SummaryRow) -> str:
    repeated = f"{count_text(row.repeated_seeds, 'repeated seed')} ignored" if row.repeated_seeds else ""
    return ", ".join(filter(None, (row.unusual, repeated)))


add(Column("note", _note, {OTHERS: 10}))
add(Column("status", tables={CSV: 9},
           values={"status": _runs(lambda runs: "measured" if runs.n else "no outcome", MISSING)}))  # fmt: skip
