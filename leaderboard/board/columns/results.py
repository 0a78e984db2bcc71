"""Columns of entries, of their results in cells, and of records without an entry.

`measured` of a row are the statistics of the cells that it sums up, `runs` the only one of these (None: missing). A
standing has several, a row of a cell or of other records has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leaderboard.board.columns.column import Code, Column, EntryName, Name, Table, Text, add, columns_of, define, read
from leaderboard.board.standings import REFERENCE, CellRow, Standing, Statistics, SuiteBoard, SummaryRow
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
    win_rate_text,
)
from leaderboard.statistics.win_rate import MIN_SEEDS_ONE_CELL
from leaderboard.statistics.win_rate_verdict import LEVEL, MIN_SEEDS, SAME, CellWinRateVerdict, WinRateVerdict

HEADLINE, FACTS, CELL, RESULTS = Table.HEADLINE, Table.FACTS, Table.CELL, Table.RESULTS
CSV, OTHERS = Table.CSV, Table.OTHERS
NOT_ON_THE_SITE = frozenset({"text", "markdown"})
STATUSES = ("solved", "censored", "diverged", "error", "interrupted")
MISSING = "missing"
IS_REFERENCE = "50 % (reference)"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


_LEVEL = _percent(LEVEL)
Row = Standing | CellRow | SummaryRow


def _of_runs(text: Callable[[Statistics], Any], default: Any = None) -> Callable[[Any], Any]:
    """A function of a row's only statistics; the default where they are missing."""
    return lambda row: default if row.runs is None else text(row.runs)


def _every(row: Row, name: str) -> list[Any]:
    return [getattr(runs, name) for runs in row.measured]


def headline_columns(suite: SuiteBoard, form: str) -> list[Column]:
    """The columns of the headline table: those registered, and one for each task of the suite."""
    found = [(column.tables[HEADLINE], column) for column in columns_of(HEADLINE, form)]
    found += [(3 + place / 100, _task_column(task)) for place, task in enumerate(suite.tasks)]
    return [column for _, column in sorted(found, key=lambda pair: pair[0])]


def _task_column(task: str) -> Column:
    """The win rate on a task, with its verdict."""

    def text(row: Standing) -> Text:
        return IS_REFERENCE if row.is_reference and not row.missing else _verdict_text(row.task(task))

    def number(row: Standing) -> float | None:
        if row.is_reference and not row.missing:
            return 0.5
        found = row.task(task)
        return None if found is None else found.win_rate.estimate

    title = f"win rate on {task}"
    return Column(
        title if re.fullmatch(r"[a-z0-9_]+", task) else Name(title),
        text,
        {HEADLINE: 3},
        number=number,
        style=lambda row: "headline",
    )


def _verdict_text(verdict: WinRateVerdict | CellWinRateVerdict | None) -> str:
    """Estimate, interval and, where anything can be said, the verdict."""
    if verdict is None:
        return NOTHING
    said = "" if verdict.kind == "needs-seeds" else f" {verdict.kind}"
    return f"{win_rate_text(verdict.win_rate)}{said}"


def _overall(row: Standing) -> Text:
    """The mean of the tasks, or the names of the cells that are in its way."""
    silent = [result.cell for result in row.measured if not result.n]
    for reason, cells in ((MISSING, row.missing), ("no outcome", silent)):
        if cells:
            return (f"{reason}: ", *[piece for cell in cells for piece in (", ", Code(cell))][1:])
    return NOTHING if row.overall is None else _percent(row.overall)


def _of_cell(row: CellRow) -> CellWinRateVerdict | None:
    return None if row.runs is None or row.runs.against is None else row.runs.against.verdict


def _of_task(row: CellRow) -> WinRateVerdict | None:
    return row.standing.task(row.cell.task)


def _win_rate_in_cell(row: CellRow) -> Text:
    return IS_REFERENCE if row.standing.is_reference and row.runs else _verdict_text(_of_cell(row))


def _win_rate_values(name: str, verdict: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    """Unrounded values of a win rate, by name, for the CSV file."""

    def of(value: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda row: None if (found := verdict(row)) is None else value(found)

    return {
        name: of(lambda found: found.win_rate.estimate),
        f"{name}_low_95": of(lambda found: found.win_rate.interval()[0]),
        f"{name}_high_95": of(lambda found: found.win_rate.interval()[1]),
        f"{name}_p": of(lambda found: found.win_rate.p()),
        f"{name}_verdict": of(lambda found: found.kind),
    }


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
    explanation="A band: the next one begins where the leader of the band is better on a task and worse on none "
    f"({_LEVEL}, {MIN_SEEDS} seeds in each cell; in a cell by itself {MIN_SEEDS_ONE_CELL}). A cell without runs is "
    "named as missing: nothing is averaged over the gap, so the entry has no headline and no rank.",
)
define("rank", None, {CELL: 1, RESULTS: 2, CSV: 16}, number="runs.rank", values={"rank": "runs.rank"})
define(
    "win rate",
    None,
    {CSV: 5},
    values={**_win_rate_values("task_win_rate", _of_task), "mean_win_rate": "standing.overall"},
    explanation=f"How often a random seed of the entry is ahead of a random seed of the reference, `{REFERENCE}`, in "
    "the same cell: it solved sooner, or got further where neither solved. 50 % is equal. On a task it is the mean of "
    "the task's cells, with its 95 % interval; the order of the entries is the mean over tasks. `better` and `worse`: "
    f"50 % is rejected at {_LEVEL}. `same`: the 90 % interval lies within {_percent(SAME[0])} and {_percent(SAME[1])}, "
    "and no cell is against it. `mixed`: neither, and cells contradict each other. Where no word stands, more seeds "
    "are needed.",
)
define(
    "mean of the tasks",
    _overall,
    {HEADLINE: 3.5},
    number="overall",
    style=lambda row: MISSING if row.missing else "",
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
    "win rate",
    _win_rate_in_cell,
    {CELL: 6, RESULTS: 6, CSV: 14},
    number=lambda row: 0.5 if row.standing.is_reference else read("win_rate.estimate")(_of_cell(row)),
    values=_win_rate_values("win_rate", _of_cell),
)
define(
    "p (Holm)",
    lambda row: p_text(read("p_holm")(_of_cell(row))),
    {CELL: 7, RESULTS: 7, CSV: 15},
    number=lambda row: read("p_holm")(_of_cell(row)),
    values={"p_holm": lambda row: read("p_holm")(_of_cell(row))},
    explanation="Of equal arms in the cell alone, by permuted labels of the runs; Holm's, over the cells of the task.",
)
_RATIO = {"ratio": "estimate", "ratio_low_95": "low", "ratio_high_95": "high", "ratio_p": "p"}
define(
    f"times the {REFERENCE}'s steps",
    lambda row: ratio_text(read("runs.against.ratio")(row), row.standing.is_reference and row.runs is not None),
    {CELL: 7.2, RESULTS: 7.2, CSV: 15.5},
    number=lambda row: 1.0 if row.standing.is_reference else read("runs.against.ratio.estimate")(row),
    values={name: f"runs.against.ratio.{field}" for name, field in _RATIO.items()},
    explanation="How many times the steps of the reference are needed to the target, where both solved at least half "
    "of their runs: 2x takes twice as many, 0.5x half. Estimate, interval and p value are of one rank test. A win rate "
    "counts in units of the spread between seeds; this says by how much.",
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
