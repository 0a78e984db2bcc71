"""The verdict of a comparison by win rate: `better`, `worse`, `same`, `mixed` or `needs-seeds`.

Over the cells of a task together: `better` and `worse` where equal arms are rejected at 1 %, two-sided; `same` where
the 90 % interval lies within [0.30, 0.70] (two one-sided tests at 5 %, Schuirmann 1987), at least half of the pairs are
decided, and no cell is against it. Where one is, or where some cells are ahead and others behind, the verdict is
`mixed`: the mean of the cells is then no summary of them. A cell is ahead or behind where its p value, Holm's over the
cells, is below 5 %.

Nothing is said about one cell with fewer than ten seeds, and hence `same` is not said with fewer: with five against
twenty, cells in which every run of the one arm is ahead cannot be told from chance. In 46 % of simulated comparisons an
entry twice as fast in half of its cells and half as fast in the others (sigma .2) would have been called the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from leaderboard.statistics.comparison import holm
from leaderboard.statistics.win_rate import (
    MIN_SEEDS_ONE_CELL,
    N_PERMUTATIONS,
    CellRuns,
    CellWinRate,
    TaskWinRate,
    cell_win_rate,
    task_win_rate,
)

WinRateKind = Literal["needs-seeds", "mixed", "same", "better", "worse"]

LEVEL = 0.01  # of "better" and "worse", two-sided
LEVEL_AGAINST = 0.05  # of a cell that contradicts "same"
LEVEL_SAME = 0.90  # of the interval behind "same"
SAME = (0.30, 0.70)  # which must hold it
MIN_DECIDED = 0.5  # share of pairs behind "same": arms that learn nothing tie everywhere and are not the same
MIN_SEEDS = 5  # in every cell, of either arm, for a claim over all cells


@dataclass(frozen=True)
class CellWinRateVerdict:
    """The verdict on one cell alone.

    Attributes:
        kind: `better` or `worse` where the cell has ten seeds of either arm and `p_holm` is below 1 %.
        p_holm: p value of equal arms, adjusted for the number of cells.
        against: if the cell has ten seeds of either arm and `p_holm` is below 5 %, so that the arms are not the same.
        reason: what the verdict rests on, or what is in the way.
    """

    kind: Literal["needs-seeds", "better", "worse"]
    win_rate: CellWinRate
    p_holm: float
    against: bool
    reason: str


@dataclass(frozen=True)
class WinRateVerdict:
    """An entry against a reference, over the cells of one task.

    Attributes:
        cells: the verdict on each cell, by its name.
        reason: what the verdict rests on, or what is in the way.
    """

    kind: WinRateKind
    win_rate: TaskWinRate
    cells: Mapping[str, CellWinRateVerdict]
    reason: str


def judge(cells: Mapping[str, CellRuns], n_permutations: int = N_PERMUTATIONS) -> WinRateVerdict:
    """The verdict on an entry from the runs of both arms in each cell of a task.

    Raises:
        ValueError: no cell.
    """
    together = task_win_rate(list(cells.values()))
    alone = [cell_win_rate(cell, n_permutations) for cell in cells.values()]
    adjusted = holm([cell.p() for cell in alone])
    verdicts = {name: _cell_verdict(cell, p) for name, cell, p in zip(cells, alone, adjusted, strict=True)}
    kind, reason = _claim(together, verdicts, min(cell.fewest for cell in cells.values()))
    return WinRateVerdict(kind, together, verdicts, reason)


def _cell_verdict(win_rate: CellWinRate, p_holm: float) -> CellWinRateVerdict:
    if not win_rate.supports_claim:
        reason = f"{min(win_rate.n_entry, win_rate.n_reference)} seeds, {MIN_SEEDS_ONE_CELL} are needed"
        return CellWinRateVerdict("needs-seeds", win_rate, p_holm, False, reason)
    against = p_holm < LEVEL_AGAINST
    if p_holm < LEVEL:
        kind = _side(win_rate)
        return CellWinRateVerdict(kind, win_rate, p_holm, against, f"equal arms are rejected, p = {p_holm:.2g}")
    return CellWinRateVerdict("needs-seeds", win_rate, p_holm, against, f"undecided, p = {p_holm:.2g}")


def _claim(task: TaskWinRate, cells: Mapping[str, CellWinRateVerdict], fewest: int) -> tuple[WinRateKind, str]:
    if fewest < MIN_SEEDS:
        return "needs-seeds", f"{fewest} seeds in a cell, {MIN_SEEDS} are needed"
    p = task.p()
    if p < LEVEL:
        return _side(task), f"equal arms are rejected, p = {p:.2g}"
    sides = {
        side: [name for name, cell in cells.items() if cell.against and _side(cell.win_rate) == side]
        for side in ("better", "worse")
    }
    found = "; ".join(f"{side} in {', '.join(names)}" for side, names in sides.items() if names)
    if sides["better"] and sides["worse"]:
        return "mixed", found
    low, high = task.interval(LEVEL_SAME)
    where = f"the {100 * LEVEL_SAME:.0f} % interval is {low:.2f} to {high:.2f}"
    if not (SAME[0] <= low and high <= SAME[1]):
        reason = f"undecided, p = {p:.2g}; {where}"
    elif task.decided < MIN_DECIDED:
        reason = f"{100 * (1 - task.decided):.0f} % of the pairs tie; {where}"
    elif fewest < MIN_SEEDS_ONE_CELL:
        reason = f"{fewest} seeds in a cell, {MIN_SEEDS_ONE_CELL} are needed to call arms the same"
    else:
        return ("mixed", found) if found else ("same", where)
    return "needs-seeds", reason


def _side(win_rate: CellWinRate | TaskWinRate) -> Literal["better", "worse"]:
    return "better" if win_rate.estimate > 0.5 else "worse"
