"""Columns of an entry's runs, on its page."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.board.columns.column import Code, Column, Name, Remark, Table, Text, add
from leaderboard.board.standings import BoardCell
from leaderboard.board.wording import NOTHING, budget_text, count_text, number_text
from leaderboard.records.record import Record

RUNS = Table.RUNS


@dataclass(frozen=True)
class RunRow:
    """One run, and the cell it is in."""

    cell: BoardCell
    record: Record

    @property
    def wall_s(self) -> float:
        """Seconds of training, evaluation and compilation."""
        return self.record.wall_train_s + self.record.wall_eval_s + self.record.wall_compile_s


def _seed(row: RunRow) -> str:
    seeds = row.record.seeds
    same = len({seeds.task_seed, seeds.init_seed, seeds.data_seed}) == 1
    return str(seeds.init_seed) if same else f"task {seeds.task_seed}, init {seeds.init_seed}, data {seeds.data_seed}"


def _status(row: RunRow) -> Text:
    error = row.record.error
    return row.record.status if error is None else (row.record.status, Remark(error[:200]))


def _hitting_step(row: RunRow) -> str:
    unseen = row.record.status in {"error", "interrupted"} and row.record.primary_step is None
    return NOTHING if unseen else budget_text(row.record.primary_step, row.cell.budget)


def _final_loss(row: RunRow) -> float | None:
    return None if row.record.final is None else row.record.final.loss_nats


def _hardware(row: RunRow) -> Name:
    hardware = row.record.hardware
    return Name(f"{hardware.name} ({hardware.device}, {count_text(hardware.threads, 'thread')})")


def _commit(row: RunRow) -> Code:
    git = row.record.git
    return Code((git.commit or "unknown")[:9] + (" (changed)" if git.dirty else ""))


add(Column("cell", lambda row: Name(row.cell.label), {RUNS: 1}, heads_row=True))
add(Column("seed", _seed, {RUNS: 2}, order=lambda row: row.record.seeds.init_seed, numeric=True))
add(
    Column(
        "status",
        _status,
        {RUNS: 3},
        order=lambda row: row.record.status,
        style=lambda row: f"status {row.record.status}",
    )
)
add(Column("hitting step", _hitting_step, {RUNS: 4}, order=lambda row: row.record.primary_step, numeric=True))
add(
    Column(
        "final loss (nats)", lambda row: number_text(_final_loss(row), 4), {RUNS: 5}, order=_final_loss, numeric=True
    )
)
add(
    Column(
        "steps",
        lambda row: number_text(row.record.steps),
        {RUNS: 6},
        order=lambda row: row.record.steps,
        numeric=True,
    )
)
add(
    Column(
        "wall time (s)",
        lambda row: number_text(row.wall_s),
        {RUNS: 7},
        order=lambda row: round(row.wall_s, 1),
        numeric=True,
    )
)
add(
    Column(
        "tokens/s",
        lambda row: number_text(row.record.tokens_per_s),
        {RUNS: 8},
        order=lambda row: row.record.tokens_per_s,
        numeric=True,
    )
)
add(Column("hardware", _hardware, {RUNS: 9}))
add(Column("commit", _commit, {RUNS: 10}))
add(Column("date", lambda row: row.record.started_at.date().isoformat(), {RUNS: 11}))
