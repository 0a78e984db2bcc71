"""Two kinds of runs compared: how many times the steps one takes, and how often it is ahead."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from benchmark.figures.figure_runs import FigureRun, Runs, by, where
from benchmark.figures.judging import Finding, nothing
from leaderboard.statistics.comparison import Outcomes, Pair, one_sided
from leaderboard.statistics.time_ratio import time_ratio
from leaderboard.statistics.win_rate import CellRuns, Finish, cell_win_rate, task_win_rate


def _pairs(new: Runs, reference: Runs, strata: Sequence[str]) -> list[tuple[list[FigureRun], list[FigureRun]]]:
    """The runs of both arms in each stratum that has some of both."""
    news, references = by(new, *strata), by(reference, *strata)
    return [(news[key], references[key]) for key in news if key in references]


def ratio_of_times(
    runs: Runs,
    new: Mapping[str, Any],
    reference: Mapping[str, Any],
    target: str,
    *,
    claimed: Literal["more", "less"],
    matters: float,
    strata: Sequence[str] = (),
    needs: int = 5,
    n_permutations: int | None = None,
) -> Finding:
    """The finding of a claim about the hitting time of one kind of runs as a multiple of another's.

    The ratio, its interval and the p value of 1 are those of `leaderboard.statistics.time_ratio`: rank tests within
    strata, by permuted labels.

    Args:
        runs: of both kinds, and any other.
        new, reference: knobs of the two kinds.
        target: whose hitting time it is.
        claimed: more or fewer steps.
        matters: the ratio nearest to 1 on that side that would matter.
        strata: knobs; only runs that share their values are compared.
        needs: runs of either kind in every stratum.
        n_permutations: of the p value; None for as many as the leaderboard takes.
    """
    pairs = _pairs(where(runs, **new), where(runs, **reference), strata)
    unit = "times the steps"
    if not pairs:
        return nothing(claimed, 1.0, matters, unit, needs)
    compared: list[Pair] = [(_outcomes(old, target), _outcomes(fresh, target)) for fresh, old in pairs]
    found = time_ratio(compared)
    more, less = one_sided(compared, 1.0, *(() if n_permutations is None else (n_permutations,)))
    fewest = min(min(len(a), len(b)) for a, b in pairs)
    p = more if claimed == "more" else less
    return Finding(found.estimate, found.low, found.high, p, 1.0, matters, claimed, unit, fewest, needs)


def _outcomes(runs: Runs, target: str) -> Outcomes:
    budget = min(run.budget for run in runs)
    times_N = np.sort([run.times[target] for run in runs])
    return Outcomes(np.where(times_N > budget, np.inf, times_N), budget)


def share_ahead(
    runs: Runs,
    new: Mapping[str, Any],
    reference: Mapping[str, Any],
    target: str,
    *,
    claimed: Literal["more", "less"],
    matters: float,
    strata: Sequence[str] = (),
    needs: int = 5,
) -> Finding:
    """The finding of a claim about how often a run of one kind is ahead of one of another, in percent.

    A run is ahead where it hits the target sooner, or, where neither does, where it has made more progress as the
    leaderboard counts it; see `leaderboard.statistics.win_rate`, whose tests these are.

    Args:
        runs, new, reference, target, claimed, strata, needs: as in `ratio_of_times`.
        matters: the percentage nearest to 50 on the claimed side that would matter.
    """
    pairs = _pairs(where(runs, **new), where(runs, **reference), strata)
    unit = "% of pairs ahead"
    if not pairs:
        return nothing(claimed, 50.0, matters, unit, needs)
    cells = [
        CellRuns([_finish(run, target) for run in fresh], [_finish(run, target) for run in old]) for fresh, old in pairs
    ]
    rate = task_win_rate(cells) if len(cells) > 1 else cell_win_rate(cells[0])
    low, high = rate.interval()
    two_sided = rate.p()
    towards = (rate.estimate > 0.5) == (claimed == "more")
    p = two_sided / 2 if towards else 1 - two_sided / 2
    return Finding(
        100 * rate.estimate, 100 * low, 100 * high, p, 50.0, matters, claimed, unit, min(c.fewest for c in cells), needs
    )


def _finish(run: FigureRun, target: str) -> Finish:
    time = run.times[target]
    return (time, 0.0) if np.isfinite(time) else (None, run.progress)
