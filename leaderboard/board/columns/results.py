"""Columns of entries, of their results in cells, and of records without an entry.

`measured` of a row are the statistics of the cells that it sums up, `runs` the only one of these (None: missing). A
standing has several, a row of a cell or of other records has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leaderboard.board.columns.column import Code, EntryName, Name, Table, Text, add, define, read
from leaderboard.board.standings import REFERENCE, CellRow, Standing, Statistics, SummaryRow
from leaderboard.board.wording import (
    NOTHING,
    count_text,
    median_text,
    p_text,
    range_text,
    rate_text,
    ratio_text,
    short_text,
    solved_text,
    speed_text,
)
from leaderboard.statistics.verdict import MIN_SEEDS, MIN_SEEDS_ONE_CELL

HEADLINE, FACTS, CELL, RESULTS = Table.HEADLINE, Table.FACTS, Table.CELL, Table.RESULTS
CSV, OTHERS = Table.CSV, Table.OTHERS
NOT_ON_THE_SITE = frozenset({"text", "markdown"})
STATUSES = ("solved", "censored", "diverged", "error", "interrupted")
MISSING = "missing"
RATIO = f"times the {REFERENCE}'s steps"
RATIO_FIELDS = {"ratio": "estimate", "ratio_low_95": "low", "ratio_high_95": "high"}
Row = Standing | CellRow | SummaryRow


def _of_runs(text: Callable[[Statistics], Any], default: Any = None) -> Callable[[Any], Any]:
    """A function of a row's only statistics; the default where they are missing."""
    return lambda row: default if row.runs is None else text(row.runs)


def _every(row: Row, name: str) -> list[Any]:
    return [getattr(runs, name) for runs in row.measured]


def _headline(row: Standing) -> Text:
    """The ratio over all cells, or the names of the cells that are in its way."""
    silent = [result.cell for result in row.measured if not result.n]
    for reason, cells in ((MISSING, row.missing), ("no outcome", silent)):
        if cells:
            return (f"{reason}: ", *[piece for cell in cells for piece in (", ", Code(cell))][1:])
    return ratio_text(row.ratio, row.is_reference)


def _ratio_order(path: str) -> Callable[[Any], float | None]:
    """The estimate; 1 for the reference itself."""
    return lambda row: 1.0 if row.standing.is_reference else read(f"{path}.estimate")(row)


def _share(row: Row) -> float | None:
    n = sum(_every(row, "n"))
    return sum(_every(row, "n_solved")) / n if n else None


def _median_order(runs: Statistics) -> float | None:
    """A median beyond the budget sorts after those within it, by how few of the runs were solved."""
    beyond = 2.0 * runs.budget * (2 - runs.n_solved / runs.n) if runs.n else None
    return beyond if runs.median.step is None else runs.median.step


def _ended(status: str) -> Callable[[Any], int | None]:
    return _of_runs(lambda runs: runs.statuses.get(status, 0))


def _origin(row: Standing | CellRow) -> str:
    return "verified" if row.standing.verified else "self-reported"


def _origin_text(row: Standing | CellRow) -> str:
    n = row.standing.verified_seeds
    return f"{_origin(row)} ({n:,})" if n else _origin(row)


def _note(row: SummaryRow) -> str:
    repeated = f"{count_text(row.repeated_seeds, 'repeated seed')} ignored" if row.repeated_seeds else ""
    return ", ".join(filter(None, (row.unusual, repeated)))


# Names and protocol.
define("suite", None, {CSV: 1}, values={"suite": "standing.suite"})
define("task", lambda row: Name(row.task), {OTHERS: 1}, heads_row=True)
define("architecture", lambda row: Name(row.architecture), {OTHERS: 2})
_CELL = {"cell": "cell.name", "task": "cell.label"}
define("cell", lambda row: Name(row.cell.label), {RESULTS: 1, CSV: 6}, values=_CELL, heads_row=True)
define(
    "entry",
    lambda row: EntryName(row.standing, brief=isinstance(row, CellRow)),
    {HEADLINE: 2, CELL: 2, CSV: 2},
    order=lambda row: row.standing.title.lower(),
    values={"entry": "standing.name", "title": "standing.title"},
    heads_row=True,
)
_PROTOCOL = {"eval_every_steps": "eval_every", "tokens_per_step": "tokens_per_step", "target": "primary"}
define(
    "protocol",
    lambda row: row.protocol_hash[:8],
    {OTHERS: 3, CSV: 8},
    values={name: f"cell.{field}" for name, field in {**_PROTOCOL, "protocol_hash": "protocol_hash"}.items()},
    formats=NOT_ON_THE_SITE,
)
define("budget", None, {OTHERS: 4, CSV: 7}, number="budget", values={"budget_steps": "cell.budget"})

# Ranks and speed of learning.
define(
    "rank",
    None,
    {HEADLINE: 1, CSV: 4},
    number="rank",
    values={"suite_rank": "standing.rank"},
    explanation="A band: entries that the permutation test cannot tell apart share one. It takes every cell and "
    f"{MIN_SEEDS} seeds in each, and {MIN_SEEDS_ONE_CELL} seeds for a cell by itself. A cell without runs is named as "
    "missing: nothing is averaged over the gap, so the entry has no headline and no rank.",
)
define("rank", None, {CELL: 1, RESULTS: 2, CSV: 16}, number="runs.rank", values={"rank": "runs.rank"})
define(
    RATIO,
    _headline,
    {HEADLINE: 3, CSV: 5},
    number=lambda row: None if row.missing else _ratio_order("ratio")(row),
    values={f"suite_{name}": f"standing.ratio.{field}" for name, field in {**RATIO_FIELDS, "p": "p"}.items()},
    style=lambda row: MISSING if row.missing else "headline",
    explanation=f"How many times the steps of the reference, `{REFERENCE}`, are needed: 2x takes twice as many, 0.5x "
    "half. Stratified over the cells, with its 95 % interval; from ranks, by a permutation test within cells. "
    "`(1.4+)`: the data do not bound it from above; `> 1.4x`: they give nothing but this bound.",
)
define(
    "solved",
    lambda row: f"{sum(_every(row, 'n_solved'))}/{sum(_every(row, 'n'))}",
    {HEADLINE: 4},
    number=_share,
    explanation="Runs that hit the target within the budget, of all runs with an outcome; in brackets Wilson's 95 % "
    "interval.",
)
define("n", None, {OTHERS: 5, CSV: 10}, number="runs.n", values={"n": "runs.n"}, formats=NOT_ON_THE_SITE)
define(
    "solved",
    _of_runs(solved_text, MISSING),
    {CELL: 3, RESULTS: 3, OTHERS: 6, CSV: 11},
    number=_share,
    values={"n_solved": "runs.n_solved", "solved_low_95": "runs.solved_low", "solved_high_95": "runs.solved_high"},
    style=lambda row: "" if row.measured else MISSING,
)
_MEDIAN = {"median_step": "step", "median_low_95_step": "low", "median_high_95_step": "high"}
define(
    "median step",
    _of_runs(lambda runs: median_text(runs.median, runs.budget) if runs.n else NOTHING, NOTHING),
    {CELL: 4, RESULTS: 4, OTHERS: 7, CSV: 12},
    number=_of_runs(_median_order),
    values={name: f"runs.median.{field}" for name, field in _MEDIAN.items()},
    explanation="The step by which half of the runs have solved the task, from the Kaplan-Meier curve, which counts "
    "unsolved runs for as long as they ran. `> 4,000`: fewer than half did within 4,000 steps. `(900+)`: the data do "
    "not bound the median from above.",
)
define(
    "mean step",
    None,
    {CELL: 5, RESULTS: 5, OTHERS: 8, CSV: 13},
    number="runs.restricted_mean_step",
    values={"restricted_mean_step": "runs.restricted_mean_step"},
    explanation="The restricted mean: of min(step, budget). It always exists: a run that did not solve its task counts "
    "with the budget, and never drops out.",
)
define(
    RATIO,
    lambda row: ratio_text(row.runs.ratio, row.standing.is_reference) if row.runs else NOTHING,
    {CELL: 6, RESULTS: 6, CSV: 14},
    number=lambda row: _ratio_order("runs.ratio")(row) if row.runs else None,
    values={name: f"runs.ratio.{field}" for name, field in RATIO_FIELDS.items()},
)
define(
    "p",
    lambda row: p_text(read("runs.ratio.p")(row)),
    {CELL: 7, RESULTS: 7, CSV: 15},
    number="runs.ratio.p",
    values={"p": "runs.ratio.p"},
    explanation="Of a permutation test of equal speed, which ranks runs within cells: solved ones by step, unsolved "
    "ones by their loss.",
)

# Choices, cost and origin.
define(
    "learning rate",
    lambda row: rate_text(_every(row, "learning_rate")),
    {CELL: 7.5, CSV: 16.5},
    number=lambda row: max(filter(None, _every(row, "learning_rate")), default=None),
    values={"learning_rate": "runs.learning_rate"},
    explanation="The entry's choice, one for the cells of a task. So are the rest of the optimizer and every option of "
    "the architecture other than width and depth, which the suite decides: the entry's page shows them.",
)
define(
    "parameters",
    lambda row: range_text(_every(row, "parameters")),
    {HEADLINE: 5, FACTS: 1, CSV: 17},
    number=lambda row: max(_every(row, "parameters"), default=None),
    values={"parameters": "runs.parameters"},
    explanation="A range over the cells where they differ, as tokens/s and seeds are.",
)
_STATE, _FLOPS = {"state_bytes": "runs.state_bytes"}, {"flops_per_token": "runs.flops_per_token"}
define("state", lambda row: short_text(_every(row, "state_bytes"), "B"), {FACTS: 2, CSV: 19}, values=_STATE)
define("FLOPs per token", lambda row: short_text(_every(row, *_FLOPS)), {FACTS: 3, CSV: 18}, values=_FLOPS)
_SPEED = define(
    "tokens/s",
    lambda row: speed_text(row.measured),
    {HEADLINE: 6, FACTS: 4, CSV: 20},
    number=lambda row: max((speed for each in _every(row, "tokens_per_s") for speed in each.values()), default=None),
    values={"tokens_per_s_": _of_runs(lambda runs: runs.tokens_per_s, {})},
    explanation="Tokens per second of training, the median over runs that were trained alone, by device.",
)
add(replace(_SPEED, tables={OTHERS: 9}, number=None, explanation=""))
_SEEDS = define(
    "seeds",
    lambda row: range_text(_every(row, "n")),
    {HEADLINE: 7},
    number=lambda row: min(_every(row, "n"), default=None),
)
add(replace(_SEEDS, tables={CELL: 8}, formats=frozenset({"html"})))  # elsewhere `solved` says it
define(
    "runs by status",
    _of_runs(lambda runs: ", ".join(f"{n} {status}" for status, n in sorted(runs.statuses.items())), NOTHING),
    {RESULTS: 8, CSV: 21},
    values={f"runs_{status}": _ended(status) for status in STATUSES},
)
define("run", lambda row: " to ".join(dict.fromkeys((row.first_date, row.last_date))), {FACTS: 5})
_DATES = {"first_date": "runs.first_date", "last_date": "runs.last_date"}
define("date", lambda row: row.last_date, {HEADLINE: 8, CSV: 22}, values=_DATES)
define(
    "records",
    _origin_text,
    {HEADLINE: 9, CSV: 3},
    order=_origin,
    values={"records": _origin},
    style=lambda row: f"badge {_origin(row)}",
    explanation="`self-reported` by the entry's authors, or `verified (N)`: the maintainers ran N whole seeds "
    "themselves, each cell's or those of a random draw over all cells.",
)
define("note", _note, {OTHERS: 10})
define("status", None, {CSV: 9}, values={"status": _of_runs(lambda r: "measured" if r.n else "no outcome", MISSING)})
