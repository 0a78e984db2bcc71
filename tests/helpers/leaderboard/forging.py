"""Records that say what changed curves say: real runs altered as a forger would, consistently."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from leaderboard.records.hits import hitting_step, holds
from leaderboard.records.record import read_record
from tests.helpers.leaderboard.entries import edit, edit_curves

EVERY = 10
"""Steps between evaluations of the runs that are changed."""

Rows = list[dict[str, Any]]


def consistent(folder: Path) -> None:
    """Let the record say what its curves say: hits, end, tokens, speed, status."""
    record, rows = read_record(folder / "record.json"), pq.read_table(folder / "curves.parquet").to_pylist()
    steps, hits = [row["step"] for row in rows], {}
    for target in record.protocol.targets:
        step, before = hitting_step(steps, [holds(target, row[target.metric]) for row in rows])
        hits[target.name] = {"step": step, "previous_step": before}
    last = rows[-1]
    final = {name: last[name] for name in ("step", "loss_nats", "loss_scored_nats", "accuracy", "exact_match")}
    solved = hits[record.protocol.primary]["step"] is not None
    parts = None
    if record.part_hits is not None:
        held = zip(*(row["parts_solved"] for row in rows), strict=True)
        parts = [dict(zip(("step", "previous_step"), hitting_step(steps, part), strict=True)) for part in held]
    tokens = last["step"] * record.protocol.tokens_per_step
    edit(
        folder, hits=hits, part_hits=parts, steps=last["step"], tokens=tokens,
        tokens_per_s=tokens / record.wall_train_s,
        status="solved" if solved else "censored", first_loss_nats=rows[0]["loss_nats"],
        final={**final, "task_metrics": {"rows_solved": last["rows_solved"]}},
    )  # fmt: skip


def renumbered(rows: Rows) -> Rows:
    return [{**row, "step": EVERY * i} for i, row in enumerate(rows)]


def with_rows(folder: Path, change: Callable[[Rows], Rows]) -> None:
    edit_curves(folder, change)
    consistent(folder)


def rows_of(folder: Path) -> Rows:
    found: Rows = pq.read_table(folder / "curves.parquet").to_pylist()
    return found
