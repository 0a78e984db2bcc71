"""Variance of a time over crossed seeds, split into task, init and data, and their interactions.

Every combination of n task, n init and n data seeds is run once. Times are replaced by normal scores of their ranks
(van der Waerden): for log-normal times these are log times on a common scale, and a run without a hit takes the last
place, tied with all others like it, so that it is neither dropped nor given a time. The scores are split by the
balanced random-effects analysis of variance; with one run per combination the interaction of all three cannot be told
from what no seed decides. Components are solved from the expected mean squares, negative ones are set to 0. Their
intervals are generalised ones (Weerahandi 1993): each mean square is its expectation times chi^2 / df, and the shares
are computed for mean squares drawn accordingly.

Shape letters: A task, B init, C data seeds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np

from benchmark.figures.figure_runs import FigureRun, Floats
from benchmark.figures.judging import Finding, nothing
from leaderboard.statistics.comparison import STREAM

FACTORS = ("task", "init", "data")
TERMS = tuple(part for size in (1, 2, 3) for part in combinations(range(3), size))
NAMES = {term: " x ".join(FACTORS[i] for i in term) for term in TERMS}
N_DRAWS = 4_000


@dataclass(frozen=True)
class VarianceShares:
    """Shares of the variance, by term ("task", ..., "task x init x data", the last with what no seed decides).

    Attributes:
        share, low, high: with their 95 % intervals; they add up to 1.
        p: of "this term's variance is 0", by the exact or Satterthwaite's F test; None for the last term.
        n: seeds of each kind.
        n_unsolved: runs without a hit.
    """

    share: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    p: Mapping[str, float | None]
    n: int
    n_unsolved: int


def crossed_times(runs: Iterable[FigureRun], target: str) -> Floats:
    """Times by task, init and data seed, (A, B, C): the largest block of whole combinations; inf where unsolved.

    Raises:
        ValueError: one line, if no two seeds of each kind are crossed.
    """
    found = {run.seeds: run.times[target] if run.times[target] <= run.budget else np.inf for run in runs}
    levels = [sorted({seeds[i] for seeds in found}) for i in range(3)]
    n = min(map(len, levels), default=0)
    while n >= 2:
        block = [level[:n] for level in levels]
        keys = [(a, b, c) for a in block[0] for b in block[1] for c in block[2]]
        if all(key in found for key in keys):
            return np.array([found[key] for key in keys]).reshape(n, n, n)
        n -= 1
    raise ValueError("the three seeds are not crossed: run the figure with --seeds 0-4")


def variance_shares(time_ABC: Floats, n_draws: int = N_DRAWS) -> VarianceShares:
    """The split, see above.

    Args:
        time_ABC: inf where unsolved.
        n_draws: of the mean squares, for the intervals.
    """
    scores = _normal_scores(time_ABC)
    df, squares = _mean_squares(scores)
    shape = time_ABC.shape
    random = np.random.Generator(np.random.Philox(STREAM))
    drawn = {term: squares[term] * df[term] / random.chisquare(df[term], n_draws) for term in TERMS}
    share, spread = _shares(squares, shape), _shares(drawn, shape)
    ends = {term: np.quantile(spread[term], (0.025, 0.975)) for term in TERMS}
    return VarianceShares(
        {NAMES[term]: float(share[term]) for term in TERMS},
        {NAMES[term]: min(float(ends[term][0]), float(share[term])) for term in TERMS},
        {NAMES[term]: max(float(ends[term][1]), float(share[term])) for term in TERMS},
        {NAMES[term]: _p(term, squares, df) for term in TERMS},
        shape[0],
        int(np.isinf(time_ABC).sum()),
    )


def matters_at_all(found: VarianceShares | None, term: str, *, matters: float, needs: int = 5) -> Finding:
    """The finding of a claim that a term has a share of the variance, in percent.

    Args:
        found: the split; None without runs.
        term: its name.
        matters: the smallest share that would matter, in percent.
        needs: seeds of each kind.
    """
    unit = "% of the variance"
    if found is None:
        return nothing("more", 0.0, matters, unit, needs)
    share, low, high = (100 * part[term] for part in (found.share, found.low, found.high))
    return Finding(share, low, high, found.p[term], 0.0, matters, "more", unit, found.n, needs)


def _normal_scores(time_ABC: Floats) -> Floats:
    from scipy.special import ndtri

    flat = time_ABC.ravel()
    _, place, count = np.unique(flat, return_inverse=True, return_counts=True)
    scores = ndtri((np.arange(len(flat)) + 0.5) / len(flat))
    starts = np.cumsum(count) - count
    means = np.add.reduceat(scores, starts) / count
    mean_scores: Floats = means[place].reshape(time_ABC.shape)
    return mean_scores


def _mean_squares(y: Floats) -> tuple[dict[tuple[int, ...], int], dict[tuple[int, ...], float]]:
    """Degrees of freedom and mean square of each term, of one observation per combination."""
    grand = y.mean()
    effects: dict[tuple[int, ...], Floats] = {(): np.full((1, 1, 1), grand)}
    df, squares = {}, {}
    for term in TERMS:
        others = tuple(axis for axis in range(3) if axis not in term)
        effect = y.mean(axis=others, keepdims=True)
        for size in range(len(term)):
            for part in combinations(term, size):
                effect = effect - effects[part]
        effects[term] = effect
        df[term] = int(np.prod([y.shape[axis] - 1 for axis in term]))
        times = y.size / effect.size
        squares[term] = float(times * (effect**2).sum() / df[term])
    return df, squares


def _shares(squares: Mapping[tuple[int, ...], float | Floats], shape: tuple[int, ...]) -> dict[tuple[int, ...], Floats]:
    """Components from E MS(term) = sum over terms T that hold it of (levels outside of T) * variance(T), as shares."""
    components: dict[tuple[int, ...], Floats] = {}
    for term in reversed(TERMS):
        above = [T for T in TERMS if set(T) > set(term)]
        rest = sum(_times(T, shape) * components[T] for T in above) if above else 0.0
        components[term] = np.asarray((np.asarray(squares[term]) - rest) / _times(term, shape))
    # Solved with their signs; what would be negative is 0.
    positive = {term: np.maximum(value, 0.0) for term, value in components.items()}
    total = np.maximum(np.asarray(sum(positive.values())), 1e-300)
    return {term: value / total for term, value in positive.items()}


def _times(term: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return int(np.prod([shape[axis] for axis in range(3) if axis not in term]))


def _p(
    term: tuple[int, ...], squares: Mapping[tuple[int, ...], float], df: Mapping[tuple[int, ...], int]
) -> float | None:
    """F test of a term: against the interaction above it, or against a sum of mean squares (Satterthwaite 1946)."""
    from scipy.special import fdtrc

    if len(term) == 3:
        return None
    top = (0, 1, 2)
    if len(term) == 2:
        if squares[top] <= 0:
            return None
        return float(fdtrc(df[term], df[top], squares[term] / squares[top]))
    pairs = [T for T in TERMS if len(T) == 2 and set(T) > set(term)]
    # MS(a) + MS(abc) against MS(ab) + MS(ac): both sums are positive, and equal in expectation without an effect.
    above, below = (squares[term], squares[top]), tuple(squares[T] for T in pairs)
    df_above = sum(above) ** 2 / (above[0] ** 2 / df[term] + above[1] ** 2 / df[top])
    df_below = sum(below) ** 2 / sum(square**2 / df[T] for square, T in zip(below, pairs, strict=True))
    if not sqrt(sum(below)) > 0:
        return None
    return float(fdtrc(df_above, df_below, sum(above) / sum(below)))
