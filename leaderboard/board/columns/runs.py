"""Columns of an entry's runs, on its page."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.board.columns.column import Code, Name, Remark, Table, Text, define, read
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


def _hardware(row: RunRow) -> Name:
    hardware = row.record.hardware
    return Name(f"{hardware.name} ({hardware.device}, {count_text(hardware.threads, 'thread')})")


def _commit(row: RunRow) -> Code:
    git = row.record.git
    return Code((git.commit or "unknown")[:9] + (" (changed)" if git.dirty else ""))


define("cell", lambda row: Name(row.cell.label), {RUNS: 1}, heads_row=True)
define("seed", _seed, {RUNS: 2}, number="record.seeds.init_seed")
define("status", _status, {RUNS: 3}, order=read("record.status"), style=lambda row: f"status {row.record.status}")
define("hitting step", _hitting_step, {RUNS: 4}, number="record.primary_step")
_FINAL = "record.final.loss_nats"
define("final loss (nats)", lambda row: number_text(read(_FINAL)(row), 4), {RUNS: 5}, number=_FINAL)
define("steps", None, {RUNS: 6}, number="record.steps")
define("wall time (s)", lambda row: number_text(row.wall_s), {RUNS: 7}, number=lambda row: round(row.wall_s, 1))
define("tokens/s", None, {RUNS: 8}, number="record.tokens_per_s")
define("hardware", _hardware, {RUNS: 9})
define("commit", _commit, {RUNS: 10})
define("date", lambda row: row.record.started_at.date().isoformat(), {RUNS: 11})
