"""Records summed up without entries: one row per task cell, architecture and protocol, as `show` prints them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from statistics import median as median_of
from typing import Any

from leaderboard.board.standings import Statistics, SummaryRow
from leaderboard.records.record import Record
from leaderboard.statistics.survival import (
    Median,
    earliest_per_seed,
    kaplan_meier,
    median,
    restricted_mean,
    sample,
    wilson_interval,
)

# The papers' letters for the two tasks' knobs; any other knob is shown under its own name.
SHORT = {
    "state_size": "S",
    "n_nonzero": "s",
    "n_states": "T",
    "n_rules": "N",
    "rule_steps": "k",
    "n_colors": "C",
    "window": "W",
}


def statistics_of(records: Sequence[Record]) -> Statistics:
    """Statistics of runs of one architecture under one protocol, one per seed.

    Raises:
        ValueError: no record, or records of several protocols.
    """
    seen = sample(records)
    n, n_solved = len(seen.steps), int(seen.solved.sum())
    low, high = wilson_interval(n_solved, n) if n else (None, None)
    dates = sorted(record.ended_at.date().isoformat() for record in records)
    return Statistics(
        budget=seen.budget,
        n=n,
        n_solved=n_solved,
        solved_low=low,
        solved_high=high,
        median=median(seen.steps, seen.solved) if n else Median(None, None, None),
        restricted_mean_step=restricted_mean(seen.steps, seen.solved, seen.budget) if n else None,
        curve=kaplan_meier(seen.steps, seen.solved) if n else None,
        learning_rate=_number(records[0].optimizer.get("lr")),
        parameters=records[0].parameters,
        flops_per_token=records[0].flops_per_token,
        state_bytes=records[0].state_bytes,
        tokens_per_s=speeds_of(records),
        statuses=dict(sorted(seen.statuses.items())),
        first_date=dates[0],
        last_date=dates[-1],
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def speeds_of(records: Iterable[Record]) -> dict[str, float]:
    """Median tokens per second by device. The speed of an ensemble is that of all its seeds at once: left out."""
    speeds: dict[str, list[float]] = {}
    for record in records:
        if record.tokens_per_s is not None and record.ensemble_size == 1:
            speeds.setdefault(record.hardware.device, []).append(record.tokens_per_s)
    return {device: median_of(values) for device, values in sorted(speeds.items())}


def summarise(records: Iterable[Record]) -> list[SummaryRow]:
    """Rows sorted by task and protocol, then by restricted mean; in a cell those without an observation come last."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_canonical(_identity(record), record.protocol_hash), []).append(record)
    first = [group[0] for group in groups.values()]
    rows = [_row(group, _architecture_label(group[0], first)) for group in groups.values()]
    return sorted(
        rows,
        key=lambda row: (
            natural(row.task),
            row.protocol_hash,
            row.restricted_mean_step is None,
            row.restricted_mean_step or 0,
            row.architecture,
        ),
    )


def task_label(record: Record) -> str:
    """Readable name of the task cell, e.g. `lm S=16 s=3 T=2`; the task's version is named from 2 on.

    An accuracy that counts as solved is left out: the name of the primary target says it.
    """
    task = record.task
    name = task.name if task.version == 1 else f"{task.name} v{task.version}"
    knobs = {knob: value for knob, value in task.config.items() if knob != "target_accuracy"}
    return " ".join([name, *(f"{SHORT.get(knob, knob)}={plain(value)}" for knob, value in knobs.items())])


def natural(text: str) -> list[int | str]:
    """Sort key that puts S=8 before S=16."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def plain(value: Any) -> str:
    """A setting as it is written: text as it stands, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _row(group: Sequence[Record], architecture: str) -> SummaryRow:
    kept = earliest_per_seed(group)
    return SummaryRow(
        task=task_label(group[0]),
        architecture=architecture,
        protocol_hash=group[0].protocol_hash,
        repeated_seeds=len(group) - len(kept),
        **vars(statistics_of(kept)),
    )


def _identity(record: Record) -> dict[str, Any]:
    """Everything, apart from task and protocol, that makes two runs the same arm; flat, so that it can be compared."""
    architecture = record.architecture
    return {
        **architecture.config,
        "architecture.name": architecture.name,
        "architecture.version": architecture.version,
        "architecture.library": architecture.library,
        "architecture.backend": architecture.backend,
        **{f"optimizer.{knob}": value for knob, value in record.optimizer.items()},
        "precision": record.precision,
        **({} if record.intervention is None else {"intervention": record.intervention.text}),
    }


def _architecture_label(record: Record, others: Iterable[Record]) -> str:
    """The architecture's name, with the settings in which the rows of this architecture in the same cell differ."""
    own = _identity(record)
    rivals = [
        _identity(other)
        for other in others
        if other.protocol_hash == record.protocol_hash and other.architecture.name == record.architecture.name
    ]
    differing = [key for key in own if any(_canonical(rival.get(key)) != _canonical(own[key]) for rival in rivals)]
    return " ".join([record.architecture.name, *(f"{key.rpartition('.')[2]}={plain(own[key])}" for key in differing)])


def _canonical(*values: Any) -> str:
    return json.dumps(values, sort_keys=True)
