"""When does a capability emerge? Hitting steps of several targets, each sustained and bracketed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from datamodules import Target
from leaderboard.records.hits import hitting_step
from leaderboard.records.record import Hit

Row = Mapping[str, Any]
"""One evaluation: step, every metric, loss_by_position_nats (float32 (L,)); of a task with parts, parts_solved (P,)."""


def part_hits_of(curves: Sequence[Row]) -> tuple[Hit, ...] | None:
    """The hitting step of every part of the task; None if it has none, or an evaluation does not say (of old)."""
    if not curves or any("parts_solved" not in row for row in curves):
        return None
    steps = [row["step"] for row in curves]
    held_PN = torch.stack([row["parts_solved"] for row in curves]).T.tolist()
    found = (hitting_step(steps, held_N) for held_N in held_PN)
    return tuple(Hit(step=step, previous_step=previous_step) for step, previous_step in found)


def hits_of(targets: Iterable[Target], curves: Sequence[Row], known: Mapping[str, Hit] | None = None) -> dict[str, Hit]:
    """The hitting step of every target, a pure function of the learning curves (`leaderboard.records.hits`).

    Args:
        targets: what is to be reached.
        curves: the evaluations so far, in ascending order of steps.
        known: hits in a part of these curves from the beginning on; they cannot change, and are not looked for again.

    Raises:
        ValueError: if a target needs a metric that the curves do not have.
    """
    steps = [row["step"] for row in curves]
    hits = dict(known or {})
    for target in targets:
        if target.name not in hits or hits[target.name].step is None:
            step, previous_step = hitting_step(steps, [target.holds(row) for row in curves])
            hits[target.name] = Hit(step=step, previous_step=previous_step)
    return hits
