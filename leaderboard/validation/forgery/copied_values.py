"""Runs that hold the same evaluations, whatever their files are called and however they are packed.

A loss is a mean over thousands of tokens, written with every digit: two runs of different weights share none but by a
chance of one in millions, apart from that before the first step. So a few equal values are a copy, in whatever order
and at whatever steps they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from leaderboard.validation.report import Problem
from leaderboard.validation.run_rules import CheckedRun

MIN_SHARED = 3
"""Equal evaluations; the 442 committed runs share one at the most, runs of one seed at two learning rates."""

_KINDS = ("loss_nats", "loss_scored_nats", "loss_by_position_nats")


def copied(runs: Iterable[CheckedRun], others: Iterable[CheckedRun] = ()) -> Iterator[Problem]:
    """Yield a problem for each run whose evaluations another run has too.

    Args:
        runs: that are checked, in the order in which the later one is blamed.
        others: that are blamed for nothing.
    """
    seen: dict[tuple[str, Hashable], list[CheckedRun]] = {}
    for run in others:
        for key in _keys(run):
            seen.setdefault(key, []).append(run)
    for run in runs:
        keys = _keys(run)
        shared = Counter((kind, other.file) for kind, value in keys for other in seen.get((kind, value), ()))
        if shared and (most := shared.most_common(1)[0])[1] >= MIN_SHARED:
            (kind, file), count = most
            yield Problem(
                run.file, "curves", f"{count} evaluations have the {kind} of {file}: the same run in two places"
            )
        for key in keys:
            seen.setdefault(key, []).append(run)


def _keys(run: CheckedRun) -> list[tuple[str, Hashable]]:
    """Every value of a run, once, with its kind; none of the evaluation before the first step."""
    curves = run.curves
    if curves is None or not {"loss_nats", "loss_scored_nats"} <= curves.metrics.keys():
        return []
    start = 1 if curves.steps[0] == 0 else 0
    columns: tuple[list[Any], ...] = (curves.metrics["loss_nats"], curves.metrics["loss_scored_nats"], curves.digests)
    return [(kind, value) for kind, column in zip(_KINDS, columns, strict=True) for value in set(column[start:])]
