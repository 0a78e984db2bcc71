"""Which learning rate serves an architecture best on a task, and whether the rates tried bracket it.

The best rate is the one with the least mean time over its runs, in budgets: the time is what win rates compare
(`finish`), and a run without one, or that diverged, counts with the whole budget. Where nothing was solved at the best
rates, it is the one with the most progress.

A best rate at an end of those tried may lie next to a better one: an entry that was tuned on fewer rates than its rival
is held back by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from leaderboard.records.record import FINAL_STATUSES, Record
from leaderboard.statistics.finish import finish, progress


@dataclass(frozen=True)
class TriedRate:
    """Runs of an architecture on a task at one learning rate.

    Attributes:
        n: runs with an outcome; `n_solved` of them hit the primary target.
        time: mean time in budgets.
        progress: mean progress of the runs that have no time (`finish.progress`); 0 without one.
        best: whether it is the best of the rates tried.
        at_end: whether it is the best, and the smallest or the largest of them.
    """

    task: str
    architecture: str
    learning_rate: float
    n: int
    n_solved: int
    time: float
    progress: float
    best: bool
    at_end: bool


def tried_rates(records: Iterable[Record]) -> list[TriedRate]:
    """Merits of the rates in the order of task, architecture and rate, from runs that have an outcome and a rate."""
    groups: dict[tuple[str, str], dict[float, list[Record]]] = {}
    for record in records:
        rate = record.optimizer.get("lr")
        if record.status in FINAL_STATUSES and isinstance(rate, int | float):
            arm = groups.setdefault((record.task.name, record.architecture.name), {})
            arm.setdefault(float(rate), []).append(record)
    return [row for (task, architecture), arms in sorted(groups.items()) for row in _rows(task, architecture, arms)]


def _rows(task: str, architecture: str, arms: dict[float, list[Record]]) -> list[TriedRate]:
    rates = sorted(arms)
    merits = {rate: _merit(arms[rate]) for rate in rates}
    best = min(rates, key=lambda rate: (merits[rate][0], -merits[rate][1]))
    return [
        TriedRate(
            task=task,
            architecture=architecture,
            learning_rate=rate,
            n=len(arms[rate]),
            n_solved=sum(_solved(record) for record in arms[rate]),
            time=merits[rate][0],
            progress=merits[rate][1],
            best=rate == best,
            at_end=rate == best and rate in (rates[0], rates[-1]),
        )
        for rate in rates
    ]


def _solved(record: Record) -> bool:
    return record.status != "diverged" and record.primary_step is not None


def _merit(runs: Sequence[Record]) -> tuple[float, float]:
    ends = [(record, finish(record)) for record in runs]
    times = [1.0 if end is None or end[0] is None else end[0] / record.protocol.max_steps for record, end in ends]
    left = [0.0 if record.status == "diverged" else progress(record) for record, end in ends if end and end[0] is None]
    return fmean(times), fmean(left) if left else 0.0
