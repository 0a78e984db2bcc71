"""A tiny suite, what a sweep of it shows, and what it leaves."""

from pathlib import Path
from typing import Any

from benchmark.sweeps.plan import Plan, Unit
from benchmark.sweeps.progress import Progress
from benchmark.training.folder.layout import RECORD
from leaderboard.records.record import Record
from leaderboard.records.record_files import find_records
from tests.helpers.runs import DECIDED

SUITE = """# Two cells that take less than a second.
cells:
  lm4:
    data: {class_path: lm, init_args: {state_size: 4, n_nonzero: 2, batch_size: 8, eval_sequences: 20}}
    protocol: {max_steps: 40, eval_every: 20}
    model: {d_model: 16, n_layers: 1, n_heads: 4}
    optimizer: {warmup_steps: 7}
  ca4:
    data: {class_path: ca, init_args: {state_size: 4, n_states: 4, n_rules: 4, batch_size: 4, eval_sequences: 6}}
    protocol: {max_steps: 40, eval_every: 20}
    model: {d_model: 16, n_layers: 1}
architectures:
  transformer: {model: {n_heads: 2}, lr: {lm: 1e-3, ca: 2e-3}}
  mlp_mixer: {lr: {lm: 3e-3}}
"""
LONG = """# A run that takes minutes, with a checkpoint after every evaluation.
model: {class_path: transformer, init_args: {d_model: 16, n_layers: 1, n_heads: 2}}
data: {class_path: lm, init_args: {state_size: 4, n_nonzero: 2, batch_size: 8, eval_sequences: 20}}
protocol: {max_steps: 1000000, eval_every: 20, stop_when_solved: false}
checkpoint_interval_s: 0
"""


class Quiet:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.most_running = 0

    def show(self, progress: Progress, slots: int) -> None:
        self.most_running = max(self.most_running, sum(row.running for row in progress.rows.values()))

    def ended(self, progress: Progress, unit: Unit, what: str) -> None:
        self.lines.append(f"{unit.folder}: {what}")

    def note(self, line: str) -> None:
        self.lines.append(line)


def records_of(out: Path) -> dict[str, Record]:
    """Every record below a folder, by the path of its run folder."""
    found = {}
    for path, record in find_records(out):
        assert path.name == RECORD and isinstance(record, Record), record
        found[str(path.parent.relative_to(out))] = record
    return found


def decided(records: dict[str, Record]) -> dict[str, Any]:
    """The part of records that two equal sweeps have in common: everything but times and places."""
    return {name: record.model_dump(include=DECIDED | {"suite", "cell"}) for name, record in records.items()}


def folders_of(plan: Plan) -> set[str]:
    """The run folders of a plan."""
    return {str(entry.unit(seed).folder) for entry, seed in plan.runs()}
