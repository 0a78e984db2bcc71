"""Two entries compared: win rates by task with their verdicts, and cell by cell beside them the ratio of times.

A win rate counts in units of the seeds' spread: an entry that takes twice the steps wins 19 % of the pairs where times
spread much, and 1 % where they spread little. The ratio of hitting times says by how much, but only where both sides
solved at least half of their runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leaderboard.records.record import Record
from leaderboard.statistics.comparison import outcomes
from leaderboard.statistics.finish import finishes
from leaderboard.statistics.survival import earliest_per_seed
from leaderboard.statistics.time_ratio import Ratio, time_ratio
from leaderboard.statistics.verdict import difference
from leaderboard.statistics.win_rate import CellRuns, overall
from leaderboard.statistics.win_rate_verdict import CellWinRateVerdict, WinRateVerdict, judge

MIN_SHARE_SOLVED = 0.5  # of either side, for a ratio of times


@dataclass(frozen=True)
class ComparedCell:
    """Two entries in one cell.

    Attributes:
        verdict: on the cell alone.
        ratio: hitting time of the entry over the reference's; None unless both solved at least half of their runs.
        n_entry, n_reference: runs with an outcome; `solved_*` of them hit the primary target.
    """

    task: str
    cell: str
    verdict: CellWinRateVerdict
    ratio: Ratio | None
    n_entry: int
    n_reference: int
    solved_entry: int
    solved_reference: int


@dataclass(frozen=True)
class HeadToHead:
    """An entry against a reference.

    Attributes:
        tasks: the verdict on each task, by its name.
        overall: mean of the tasks' win rates, which never stands without them.
        cells: by task and name.
        left_out: cells that are not compared, and why.
    """

    tasks: Mapping[str, WinRateVerdict]
    overall: float
    cells: tuple[ComparedCell, ...]
    left_out: Mapping[str, str]


def head_to_head(entry: Mapping[str, Sequence[Record]], reference: Mapping[str, Sequence[Record]]) -> HeadToHead:
    """Compare the records of two entries, by cell.

    Raises:
        ValueError: one line, if there is no cell in which both have runs with an outcome under one protocol.
    """
    runs: dict[str, CellRuns] = {}
    left_out: dict[str, str] = {}
    for cell in sorted({*entry, *reference}):
        if cell not in entry or cell not in reference:
            left_out[cell] = f"only {'the second' if cell not in entry else 'the first'} has runs in it"
        elif (why := difference(reference[cell], entry[cell])) is not None:
            left_out[cell] = why
        else:
            both = finishes(*(earliest_per_seed(side[cell]) for side in (entry, reference)))
            if all(both):
                runs[cell] = CellRuns(*both)
            else:
                left_out[cell] = "no run with an outcome on both sides"
    if not runs:
        reasons = "; ".join(f"{cell}: {why}" for cell, why in left_out.items())
        raise ValueError(f"there is no cell in which the two can be compared ({reasons})")
    cells_of: dict[str, dict[str, CellRuns]] = {}
    for cell, arms in runs.items():
        cells_of.setdefault(entry[cell][0].task.name, {})[cell] = arms
    tasks = {task: judge(cells_of[task]) for task in sorted(cells_of)}
    cells = tuple(
        _compared(task, cell, verdict, entry[cell], reference[cell])
        for task, verdict_of_task in tasks.items()
        for cell, verdict in verdict_of_task.cells.items()
    )
    return HeadToHead(tasks, overall([verdict.win_rate for verdict in tasks.values()]), cells, left_out)


def _compared(
    task: str, cell: str, verdict: CellWinRateVerdict, entry: Sequence[Record], reference: Sequence[Record]
) -> ComparedCell:
    ours, theirs = outcomes(earliest_per_seed(entry)), outcomes(earliest_per_seed(reference))
    assert ours is not None and theirs is not None  # the cell has runs with an outcome
    enough = all(side.n_solved >= MIN_SHARE_SOLVED * len(side) for side in (ours, theirs))
    ratio = time_ratio([(theirs, ours)]) if enough else None
    return ComparedCell(task, cell, verdict, ratio, len(ours), len(theirs), ours.n_solved, theirs.n_solved)
