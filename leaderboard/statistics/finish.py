"""How a run ended, as win rates compare it: the time it took, and what it has learned where it did not get there.

A task that is learned part by part, such as the rows of a linear map, has an emergence for each of them. Its time is
the mean over parts of min(step, budget): the area above the staircase of solved parts. It tells apart what the time to
the last part does not: that is the largest of many times, and mostly beyond the budget.

Progress without a time is what was learned, never the loss: two architectures that learn nothing and begin at different
losses would else differ with certainty. Accuracies count in steps of 0.05 above chance, so that noise of the held-out
set is a tie.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, floor, inf

from leaderboard.records.hits import middle
from leaderboard.records.record import Record
from leaderboard.statistics.win_rate import Finish

ACCURACY_STEP = 0.05
_PROGRESS = {"lm": "rows_solved", "ca": "accuracy_second_half"}
_EVENTS = {"rows_solved"}  # counts of what was solved, without noise


def finishes(*arms: Iterable[Record]) -> list[list[Finish]]:
    """The finishes of the runs of each arm in one cell that have an outcome.

    Records of old do not hold the hitting steps of parts. Where one of these is among the runs, of whichever arm, the
    time of every run is that of its primary target: the two kinds of time must not be compared.
    """
    kept = [[record for record in arm if record.status not in {"error", "interrupted"}] for arm in arms]
    by_parts = all(record.part_hits is not None for arm in kept for record in arm)
    return [[end for record in arm if (end := finish(record, by_parts)) is not None] for arm in kept]


def finish(record: Record, by_parts: bool = True) -> Finish | None:
    """Time in steps (None if there is none) and progress of a run; None if the run has no outcome.

    Error and interrupted runs say nothing about the architecture. A diverged run is the worst that there is.

    Args:
        record: of the run.
        by_parts: take the time from the parts, if the record holds their hitting steps.
    """
    if record.status in {"error", "interrupted"}:
        return None
    if record.status == "diverged":
        return None, -inf
    if by_parts and record.part_hits is not None:
        return staircase_time(record), 0.0
    hit = record.hits[record.protocol.primary]
    return (None, progress(record)) if hit.step is None else (middle(hit), 0.0)


def staircase_time(record: Record) -> float | None:
    """Mean over parts of min(step, budget); None without a part that was solved.

    Raises:
        ValueError: if the record has no hitting steps of parts.
    """
    if not record.part_hits:
        raise ValueError("the record has no hitting steps of parts")
    if all(hit.step is None for hit in record.part_hits):
        return None
    budget = float(record.protocol.max_steps)
    return sum(budget if hit.step is None else middle(hit) for hit in record.part_hits) / len(record.part_hits)


def progress(record: Record) -> float:
    """Progress of an unsolved run: the share of rows solved (`lm`), or steps of 0.05 of accuracy above chance.

    The accuracy is that of the second half of the states (`ca`), or of all scored positions.
    """
    if record.final is None:
        return 0.0
    name = _PROGRESS.get(record.task.name, "accuracy")
    value = record.final.task_metrics.get(name, record.final.accuracy)
    if name in _EVENTS:
        return value
    chance = exp(-record.chance_loss_nats)
    return float(max(0, floor((value - chance) / ACCURACY_STEP + 1e-9)))
