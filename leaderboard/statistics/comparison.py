"""Rank tests of how many times the steps one of two arms takes: within cells, summed over cells.

An arm is the runs of one entry; within a cell its runs are compared with another arm's on the same task, protocol and
budget. A time ratio r is tested by dividing the new arm's hitting steps by r (the accelerated failure time model,
Kalbfleisch and Prentice 2002, chapter 7), and ranking the runs together, the fastest first. What either arm could not
have shown within its budget on that common scale counts as unsolved in both, and unsolved runs tie; ties share the mean
of their ranks. The statistic is van Elteren's (1960): the sum over cells of (rank sum of the new arm - its expectation)
/ (N + 1), with N runs in the cell. Its null distribution is that of permuting the labels of runs within cells, by a
fixed random stream: equal records give equal p values. `leaderboard.statistics.time_ratio` inverts the test.

A hitting step is known to lie between two evaluations: the middle of the two is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaderboard.records.hits import middle
from leaderboard.records.record import Record

FloatArray = NDArray[np.float64]

N_PERMUTATIONS = 9_999  # of a p value; the smallest is then 1e-4
STREAM = 2606_25010  # of the permutations; another number changes p values by their Monte Carlo error
HAIR = 1e-9  # equal sums of scores must stay equal, whatever the order they were added in


@dataclass(frozen=True)
class Outcomes:
    """The runs of one arm in one cell that have an outcome.

    Attributes:
        time_N: hitting step, the middle of its evaluation interval; inf where unsolved. Shape (N,), the fastest first.
        budget: steps that a run could take.
    """

    time_N: FloatArray
    budget: int

    def __len__(self) -> int:
        return len(self.time_N)

    @property
    def n_solved(self) -> int:
        """Number of runs that hit the target."""
        return int(np.isfinite(self.time_N).sum())


Pair = tuple[Outcomes, Outcomes]  # reference and new arm in one cell


def outcomes(records: Iterable[Record]) -> Outcomes | None:
    """Outcomes of the runs of one arm in one cell; None without a run that has one.

    Error and interrupted runs say nothing about the architecture and are left out. A diverged run has not solved its
    task, even if it hit the target before.
    """
    kept = [record for record in records if record.status not in {"error", "interrupted"}]
    if not kept:
        return None
    hits = [(record.status == "diverged", record.hits[record.protocol.primary]) for record in kept]
    times = [np.inf if diverged or hit.step is None else middle(hit) for diverged, hit in hits]
    # Sorted, so that the order in which records were read cannot move a p value by its Monte Carlo error.
    return Outcomes(np.sort(np.array(times, dtype=np.float64)), kept[0].protocol.max_steps)


def p_value(pairs: Sequence[Pair], n_permutations: int = N_PERMUTATIONS) -> float:
    """Two-sided permutation p value of "the two take as many steps".

    Raises:
        ValueError: no pair.
    """
    return min(1.0, 2 * min(one_sided(pairs, 1.0, n_permutations)))


def one_sided(pairs: Sequence[Pair], ratio: float, n_permutations: int = N_PERMUTATIONS) -> tuple[float, float]:
    """p values of "the new arm takes `ratio` times the reference's steps" against "more" and against "less".

    Raises:
        ValueError: no pair, or a ratio that is not positive.
    """
    if not ratio > 0:
        raise ValueError(f"ratio must be positive, got {ratio}")
    more, less = tails([(scores([pair], [ratio]), len(pair[1])) for pair in pairs], n_permutations)
    return float(more[0]), float(less[0])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p values, in the order given: reject those below the level, all of them at once."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def scores(pairs: Sequence[Pair], ratios: Sequence[float]) -> FloatArray:
    """Rank - expected rank of the runs of both arms ranked together, the reference's first. Shape (N, K).

    Args:
        pairs: K pairs of arms, all with as many runs as the first pair's.
        ratios: one for each pair: times the reference's steps that the new arm is taken to need.

    Raises:
        ValueError: the budgets of a pair differ.
    """
    for reference, new in pairs:
        if reference.budget != new.budget:
            raise ValueError(f"budgets differ: {reference.budget} and {new.budget} steps")
    budget_K1 = np.array([[reference.budget] for reference, _ in pairs], dtype=np.float64)
    time_KN, other_KN = (np.stack([pair[place].time_N for pair in pairs]) for place in (0, 1))
    ratio_K1 = np.array(ratios)[:, None]
    # What either arm could not have shown on the common scale is unsolved in both.
    limit_K1 = np.minimum(budget_K1, budget_K1 / ratio_K1)
    both_KN = np.concatenate((time_KN, other_KN / ratio_K1), axis=1)
    key_KN = np.where(both_KN > limit_K1, np.inf, both_KN)
    return _centred_ranks(key_KN).T


def _centred_ranks(key_KN: FloatArray) -> FloatArray:
    """Rank in the row - expected rank; those that tie share the middle of the places they take. Shape (K, N)."""
    n = key_KN.shape[1]
    order_KN = key_KN.argsort(axis=1)
    sorted_KN = np.take_along_axis(key_KN, order_KN, axis=1)
    place_N = np.arange(n)
    starts_KN = np.ones(key_KN.shape, dtype=bool)
    starts_KN[:, 1:] = sorted_KN[:, 1:] != sorted_KN[:, :-1]
    ends_KN = np.roll(starts_KN, -1, axis=1)
    first_KN = np.maximum.accumulate(np.where(starts_KN, place_N, 0), axis=1)
    last_KN = np.minimum.accumulate(np.where(ends_KN, place_N, n)[:, ::-1], axis=1)[:, ::-1]
    score_KN = np.empty(key_KN.shape)
    np.put_along_axis(score_KN, order_KN, (first_KN + last_KN) / 2 - (n - 1) / 2, axis=1)
    return score_KN


def statistic(cells: Sequence[tuple[FloatArray, int]]) -> FloatArray:
    """Van Elteren's statistic, positive where the new arm takes more steps; shape (K,).

    Args:
        cells: as in `tails`.
    """
    total_K: FloatArray = np.sum([score_NK[-n_new:].sum(axis=0) / (len(score_NK) + 1) for score_NK, n_new in cells], 0)
    return total_K


def tails(
    cells: Sequence[tuple[FloatArray, int]], n_permutations: int = N_PERMUTATIONS
) -> tuple[FloatArray, FloatArray]:
    """Shares of permutations whose sum over the new arm is at least, and at most, the one seen; each of shape (K,).

    The labels as they are count as one more permutation, which keeps a p value valid however few there are (Phipson and
    Smyth 2010).

    Args:
        cells: for each cell `scores` of K comparisons side by side, shape (N, K), and how many runs the new arm has:
            they come last.
        n_permutations: M.

    Raises:
        ValueError: no cell.
    """
    if not cells:
        raise ValueError("needs a cell that both arms have outcomes in")
    sums: dict[int, NDArray[np.float32]] = {}  # over the new arm in each permutation, by divisor, shape (K, M)
    for place, (score_NK, n_new) in enumerate(cells):
        # Scores are halves of integers, so that float32, which is faster, adds them exactly.
        chosen_NM = _permutations(place, len(score_NK), n_new, n_permutations)
        drawn_KM = score_NK.T.astype(np.float32) @ chosen_NM
        divisor = len(score_NK) + 1
        sums[divisor] = sums[divisor] + drawn_KM if divisor in sums else drawn_KM
    observed_K, hair = statistic(cells), HAIR
    total_KM: NDArray[np.floating[Any]]
    if len(sums) == 1:  # cells of one size: nothing needs to be divided, numbers stay halves
        ((divisor, total_KM),) = sums.items()
        observed_K, hair = observed_K * divisor, 0.25
    else:
        total_KM = np.sum([drawn_KM / np.float64(divisor) for divisor, drawn_KM in sums.items()], axis=0)
    bounds = ((observed_K - hair).astype(total_KM.dtype), (observed_K + hair).astype(total_KM.dtype))
    at_least_K = [np.count_nonzero(row_M >= low) for row_M, low in zip(total_KM, bounds[0], strict=True)]
    at_most_K = [np.count_nonzero(row_M <= high) for row_M, high in zip(total_KM, bounds[1], strict=True)]
    return (1 + np.array(at_least_K)) / (1 + n_permutations), (1 + np.array(at_most_K)) / (1 + n_permutations)


@lru_cache(maxsize=128)
def _permutations(place: int, n: int, n_new: int, n_permutations: int) -> NDArray[np.float32]:
    """Runs of a cell that are called new in each permutation: 0 or 1, shape (N, M): this way round sums are fast."""
    random = np.random.Generator(np.random.Philox(key=[STREAM, place]))
    selection_MN = np.zeros((n_permutations, n))
    np.put_along_axis(selection_MN, random.random((n_permutations, n)).argsort(axis=1)[:, :n_new], 1.0, axis=1)
    return np.ascontiguousarray(selection_MN.T, dtype=np.float32)
