"""The verdict on a new arm against a reference over a whole suite: what the gate says.

A pure function of records. Each task has a verdict of its own (`win_rate_verdict`), and the suite's follows from these:
`mixed` where tasks contradict each other, or one is mixed in itself; `regressed` where one is worse; `better`
where one is better and none is worse; `same` where all are the same; `needs-seeds` where nothing can be said. Runs of
different protocols are `not-comparable`.

Tasks are never averaged to reach a verdict. Each is tested at 1 %: of comparisons in which nothing differs on either of
two tasks, 2 % at most end in a claim (`simulation.py` counts them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import Literal

from leaderboard.records.record import Record
from leaderboard.statistics.head_to_head import ComparedCell, HeadToHead, difference, head_to_head
from leaderboard.statistics.win_rate_verdict import LEVEL, LEVEL_SAME, MIN_SEEDS, SAME, WinRateKind, WinRateVerdict

Kind = Literal["not-comparable", "needs-seeds", "mixed", "same", "better", "regressed"]

MAX_SEEDS = 100  # beyond it a number of seeds is not worth asking for
POWER = 0.8  # which the seeds that are asked for would give


@dataclass(frozen=True)
class Verdict:
    """A new arm against a reference, over all cells of a suite.

    Attributes:
        found: the comparison behind it; None where there is none.
        missing: cells that only the reference has.
        seeds_needed: seeds per cell that would probably decide; None where nothing is needed or no number would do.
        reason: what the verdict rests on, or what is in the way.
    """

    kind: Kind
    found: HeadToHead | None
    missing: tuple[str, ...]
    seeds_needed: int | None
    reason: str


def claim(kinds: Sequence[WinRateKind]) -> Kind:
    """The verdict over tasks from the verdict on each."""
    found = set(kinds)
    if found >= {"better", "worse"}:
        return "mixed"
    if "worse" in found:
        return "regressed"
    if "mixed" in found:
        return "mixed"
    if "better" in found:
        return "better"
    return "same" if found == {"same"} else "needs-seeds"


def compare(reference: Mapping[str, Sequence[Record]], new: Mapping[str, Sequence[Record]]) -> Verdict:
    """The verdict on a new arm. Both give for every cell the records of one arm; repetitions of a seed are left out."""
    missing = tuple(cell for cell in reference if cell not in new)
    common = [cell for cell in reference if cell in new]
    if not common:
        return Verdict("not-comparable", None, missing, None, "no cell in common")
    if differing := [f"{cell}: {why}" for cell in common if (why := difference(reference[cell], new[cell]))]:
        return Verdict("not-comparable", None, missing, None, "; ".join(differing))
    try:
        found = head_to_head({cell: new[cell] for cell in common}, reference)
    except ValueError:
        reason = "no cell in which both have runs with an outcome"
        return Verdict("needs-seeds", None, missing, MIN_SEEDS, reason)
    kind = claim([verdict.kind for verdict in found.tasks.values()])
    reason = "; ".join(f"{task}: {verdict.kind} ({verdict.reason})" for task, verdict in found.tasks.items())
    compared = {cell.cell for cell in found.cells}
    unfinished = [*missing, *(cell for cell in common if cell not in compared)]
    fewest = min(min(cell.n_entry, cell.n_reference) for cell in found.cells)
    if kind in {"same", "better"} and (unfinished or fewest < MIN_SEEDS):
        why = f"has no outcome in {', '.join(unfinished)}" if unfinished else f"has {fewest} seeds in a cell"
        return Verdict("needs-seeds", found, missing, MIN_SEEDS, f"would be {kind}, but {why}")
    needed = _seeds_needed(found) if kind == "needs-seeds" else None
    return Verdict(kind, found, missing, needed, reason)


def _seeds_needed(found: HeadToHead) -> int | None:
    """Seeds per cell with which some task would probably be decided, the reference's staying as they are."""
    wanted = [
        seeds
        for task, verdict in found.tasks.items()
        if (seeds := _seeds_of_task(verdict, [cell for cell in found.cells if cell.task == task])) is not None
    ]
    return min(wanted, default=None)


def _seeds_of_task(verdict: WinRateVerdict, cells: Sequence[ComparedCell]) -> int | None:
    """Normal approximation: the estimate is taken for the truth, the spread of a run for the same in both arms."""
    fewest, n_reference = min(cell.n_entry for cell in cells), min(cell.n_reference for cell in cells)
    if fewest < MIN_SEEDS:
        return MIN_SEEDS
    normal, rate = NormalDist(), verdict.win_rate
    spread = 0.25 / rate.n_eff / (1 / fewest + 1 / n_reference)
    distance = abs(rate.estimate - 0.5)
    wanted = []
    for gap, quantile in (
        (distance, normal.inv_cdf(1 - LEVEL / 2)),
        (SAME[1] - 0.5 - distance, normal.inv_cdf((1 + LEVEL_SAME) / 2)),
    ):
        if gap > 0:
            # gap = (quantile + that of the power) * sqrt(spread * (1 / n + 1 / n_reference)), solved for n
            room = (gap / (quantile + normal.inv_cdf(POWER))) ** 2 / spread - 1 / n_reference
            if room > 1 / MAX_SEEDS:
                wanted.append(max(fewest + 1, ceil(1 / room)))
    return min(wanted, default=None)
