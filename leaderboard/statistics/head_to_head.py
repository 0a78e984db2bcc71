"""Two entries compared: win rates by task with their verdicts, and cell by cell beside them the ratio of times.

A win rate counts in units of the seeds' spread: an entry that takes twice the steps wins 19 % of the pairs where times
spread much, and 1 % where they spread little. The ratio of hitting times says by how much, but only where both sides
solved at least half of their runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from leaderboard.records.record import Record
from leaderboard.statistics.comparison import outcomes
from leaderboard.statistics.finish import finishes
from leaderboard.statistics.survival import earliest_per_seed
from leaderboard.statistics.time_ratio import Ratio, time_ratio
from leaderboard.statistics.win_rate import MIN_SEEDS_ONE_CELL, CellRuns, cell_win_rate, overall, task_win_rate
from leaderboard.statistics.win_rate_verdict import LEVEL, MIN_SEEDS, CellWinRateVerdict, WinRateVerdict, judge

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
    cells_of, left_out = runs_by_task(entry, reference)
    if not cells_of:
        reasons = "; ".join(f"{cell}: {why}" for cell, why in left_out.items())
        raise ValueError(f"there is no cell in which the two can be compared ({reasons})")
    tasks = {task: judge(cells_of[task]) for task in sorted(cells_of)}
    cells = tuple(
        _compared(task, cell, verdict, entry[cell], reference[cell])
        for task, verdict_of_task in tasks.items()
        for cell, verdict in verdict_of_task.cells.items()
    )
    return HeadToHead(tasks, overall([verdict.win_rate for verdict in tasks.values()]), cells, left_out)


def runs_by_task(
    entry: Mapping[str, Sequence[Record]], reference: Mapping[str, Sequence[Record]]
) -> tuple[dict[str, dict[str, CellRuns]], dict[str, str]]:
    """How the runs of both ended, by task and cell, and the cells that are left out, with the reason."""
    cells_of: dict[str, dict[str, CellRuns]] = {}
    left_out: dict[str, str] = {}
    for cell in sorted({*entry, *reference}):
        if cell not in entry or cell not in reference:
            left_out[cell] = f"only {'the second' if cell not in entry else 'the first'} has runs in it"
        elif (why := difference(reference[cell], entry[cell])) is not None:
            left_out[cell] = why
        else:
            both = finishes(*(earliest_per_seed(side[cell]) for side in (entry, reference)))
            if all(both):
                cells_of.setdefault(entry[cell][0].task.name, {})[cell] = CellRuns(*both)
            else:
                left_out[cell] = "no run with an outcome on both sides"
    return cells_of, left_out


def is_ahead(first: Mapping[str, Sequence[Record]], second: Mapping[str, Sequence[Record]]) -> bool:
    """Whether the first is better than the second on a task, and worse on none: what parts bands of ranks.

    Nothing is said where a cell has fewer than `MIN_SEEDS` runs.
    """
    cells_of, _ = runs_by_task(first, second)
    if not cells_of or min(cell.fewest for cells in cells_of.values() for cell in cells.values()) < MIN_SEEDS:
        return False
    found = [rate for cells in cells_of.values() if (rate := task_win_rate(list(cells.values()))).p() < LEVEL]
    return bool(found) and all(rate.estimate > 0.5 for rate in found)


def is_ahead_in(cell: str, first: Mapping[str, Sequence[Record]], second: Mapping[str, Sequence[Record]]) -> bool:
    """The same of one cell alone, which takes ten seeds."""
    cells_of, _ = runs_by_task({cell: first[cell]}, {cell: second[cell]})
    rates = [cell_win_rate(runs) for cells in cells_of.values() for runs in cells.values()]
    return any(rate.supports_claim and rate.p() < LEVEL and rate.estimate > 0.5 for rate in rates)


def _compared(
    task: str, cell: str, verdict: CellWinRateVerdict, entry: Sequence[Record], reference: Sequence[Record]
) -> ComparedCell:
    ours, theirs = outcomes(earliest_per_seed(entry)), outcomes(earliest_per_seed(reference))
    assert ours is not None and theirs is not None  # the cell has runs with an outcome
    enough = all(side.n_solved >= MIN_SHARE_SOLVED * len(side) for side in (ours, theirs))
    ratio = time_ratio([(theirs, ours)]) if enough else None
    return ComparedCell(task, cell, verdict, ratio, len(ours), len(theirs), ours.n_solved, theirs.n_solved)


def difference(reference: Iterable[Record], new: Iterable[Record]) -> str | None:
    """The reason why the records of two arms in one cell cannot be compared; None if they can."""
    hashes = {}
    for whose, records in (("the reference", reference), ("the new records", new)):
        found = {record.protocol_hash: record for record in records}
        if len(found) > 1:
            return f"{whose} mixes {len(found)} protocols"
        hashes[whose] = next(iter(found.values()))
    first, second = hashes.values()
    if first.protocol_hash == second.protocol_hash:
        return None
    if first.task.name != second.task.name:
        return f"task {second.task.name}, the reference has {first.task.name}"
    if first.task.version != second.task.version:
        return f"version {second.task.version} of task {first.task.name}, the reference has {first.task.version}"
    sides = [{**record.task.config, **record.protocol.model_dump(mode="json")} for record in (first, second)]
    differing = [key for key in {**sides[0], **sides[1]} if sides[0].get(key) != sides[1].get(key)]
    key = differing[0]
    if key == "targets":
        return "the targets differ"
    return f"{key} is {sides[1].get(key)}, the reference has {sides[0].get(key)}"


def told_apart(arms: Sequence[Mapping[str, Sequence[Record]]], seeds: int = MIN_SEEDS_ONE_CELL) -> dict[str, list[int]]:
    """Of how many pairs of arms a task tells which is better at 1 %, and the number of pairs, by task.

    Args:
        arms: records of each by cell.
        seeds: number of runs of each in a cell that count, the lowest seeds; arms that have fewer are left out.
    """
    kept = []
    for arm in arms:
        in_order = {
            cell: sorted(earliest_per_seed(runs), key=lambda run: run.seeds.init_seed) for cell, runs in arm.items()
        }
        first = {cell: runs[:seeds] for cell, runs in in_order.items()}
        if min(map(len, first.values()), default=0) == seeds:
            kept.append(first)
    found: dict[str, list[int]] = {}
    for one, other in combinations(kept, 2):
        for task, cells in runs_by_task(one, other)[0].items():
            counts = found.setdefault(task, [0, 0])
            counts[0] += task_win_rate(list(cells.values())).p() < LEVEL
            counts[1] += 1
    return found
