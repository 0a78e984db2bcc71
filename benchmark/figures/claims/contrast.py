"""One cell above both of two others: how much larger its mean is than the larger of theirs.

That it lies above both is rejected only where each comparison is: the p value is the larger of the two, which needs no
correction (an intersection-union test, Berger 1982). Each is that of permuting the labels of runs between two cells,
the statistic being Welch's. The interval is Welch's, of the smaller of the two differences.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt

import numpy as np

from benchmark.figures.figure_runs import Floats
from benchmark.figures.judging import Finding, nothing
from leaderboard.statistics.comparison import HAIR, STREAM
from leaderboard.statistics.student import two_sided_quantile

N_PERMUTATIONS = 1_999


def above_both(
    middle: Sequence[float],
    ends: Sequence[Sequence[float]],
    *,
    matters: float,
    unit: str,
    needs: int = 5,
    n_permutations: int = N_PERMUTATIONS,
) -> Finding:
    """The finding of a claim that the middle cell's mean is larger than that of every other cell.

    Args:
        middle: a value per run of the cell that is said to lie above.
        ends: the same of each of the others.
        matters: the smallest difference that would matter, above 0.
        unit: of the values.
        needs: runs in every cell.
        n_permutations: of each p value.
    """
    if not middle or not all(ends):
        return nothing("more", 0.0, matters, unit, needs)
    found = [_difference(np.sort(middle), np.sort(end), n_permutations) for end in ends]
    effect, low, high, _ = min(found, key=lambda one: one[0])
    fewest = min(len(middle), *map(len, ends))
    p = max(one[3] for one in found)
    return Finding(effect, min(low, *(one[1] for one in found)), high, p, 0.0, matters, "more", unit, fewest, needs)


def _difference(new_M: Floats, other_N: Floats, n_permutations: int) -> tuple[float, float, float, float]:
    """Difference of means, its interval, and the one-sided permutation p value."""
    m, n = len(new_M), len(other_N)
    difference = float(new_M.mean() - other_N.mean())
    parts = [float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0 for values in (new_M, other_N)]
    variance = sum(parts)
    df = variance**2 / sum(v**2 / (k - 1) for v, k in zip(parts, (m, n), strict=True) if k > 1) if variance else 0.0
    half = two_sided_quantile(0.05, df) * sqrt(variance) if variance else 0.0
    everyone = np.concatenate((new_M, other_N))
    chosen_KM = _choices(m + n, m, n_permutations)
    observed = _studentised(new_M[None], other_N[None])[0]
    drawn_K = _studentised(everyone[chosen_KM[:, :m]], everyone[chosen_KM[:, m:]])
    p = (1 + int(np.sum(drawn_K >= observed - HAIR))) / (1 + n_permutations)
    return difference, difference - half, difference + half, p


def _studentised(new_KM: Floats, other_KN: Floats) -> Floats:
    """Welch's statistic in each row; a difference without any spread counts as a very large one of its sign."""
    difference_K = new_KM.mean(1) - other_KN.mean(1)
    ddof = [int(values.shape[1] > 1) for values in (new_KM, other_KN)]
    variance_K = sum(
        values.var(1, ddof=d) / values.shape[1] for values, d in zip((new_KM, other_KN), ddof, strict=True)
    )
    statistic_K: Floats = difference_K / np.sqrt(np.maximum(variance_K, 1e-18))
    return np.round(statistic_K, 6)


@lru_cache(maxsize=16)
def _choices(n_all: int, m: int, n_permutations: int) -> np.ndarray:
    random = np.random.Generator(np.random.Philox(key=[STREAM, m]))
    return random.random((n_permutations, n_all)).argsort(axis=1)
