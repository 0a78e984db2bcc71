"""Knobs that a hitting time goes with: partial rank correlations, and which are the largest.

The correlation of the ranks of a knob and of the time, given the ranks of all other knobs (Spearman's, from the inverse
of the correlation matrix). Runs that never hit the target tie last. Intervals are percentiles over resamples of the
runs within each cell, which keep their ranks among all runs. That one group of knobs explains more than another is
tested by the share of resamples in which the smallest correlation of the one does not exceed the largest of the other,
both without their signs. Where all go equally closely with the time the smallest of some lies below the largest of
others by chance, so that the test errs against the claim.

Shape letters: R runs, K knobs, J = K + 1 columns, the time last, B resamples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.figures.figure_runs import FigureRun, Floats, Runs
from benchmark.figures.judging import Finding, nothing
from leaderboard.statistics.comparison import STREAM

N_RESAMPLES = 1_000


@dataclass(frozen=True)
class RankCorrelations:
    """Partial rank correlations with the time, by knob.

    Attributes:
        estimate, low, high: by knob, with the 95 % interval.
        resampled_BK: of every resample, in the order of the knobs.
    """

    estimate: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    resampled_BK: Floats


def rank_correlations(
    runs: Runs, knobs: Mapping[str, Callable[[FigureRun], float]], target: str, n_resamples: int = N_RESAMPLES
) -> RankCorrelations:
    """The partial rank correlation of each knob with a hitting time.

    Args:
        runs: of all cells.
        knobs: by name, the value of a run.
        target: whose hitting time it is.
        n_resamples: B.
    """
    ordered = sorted(runs, key=lambda run: (tuple(value(run) for value in knobs.values()), run.times[target]))
    x_RK = np.array([[value(run) for value in knobs.values()] for run in ordered], dtype=np.float64)
    time_R = np.array([run.times[target] if run.times[target] <= run.budget else np.inf for run in ordered])
    _, cell_R = np.unique(x_RK, axis=0, return_inverse=True)
    cells = [np.flatnonzero(cell_R.ravel() == cell) for cell in range(cell_R.max() + 1)]
    random = np.random.Generator(np.random.Philox(STREAM))
    weight_BR = np.zeros((n_resamples, len(ordered)))
    for cell in cells:
        weight_BR[:, cell] = random.multinomial(len(cell), np.full(len(cell), 1 / len(cell)), n_resamples)
    rank_RJ = np.stack([_ranks(column) for column in (*x_RK.T, time_R)], axis=1)
    estimate_K = _partial(rank_RJ, np.ones((1, len(ordered))))[0]
    resampled_BK = _partial(rank_RJ, weight_BR)
    low_K, high_K = np.quantile(resampled_BK, (0.025, 0.975), axis=0) if n_resamples else (estimate_K, estimate_K)
    estimate, low, high = (dict(zip(knobs, map(float, row_K), strict=True)) for row_K in (estimate_K, low_K, high_K))
    return RankCorrelations(estimate, low, high, resampled_BK)


def explains_more(
    found: RankCorrelations, leading: Sequence[str], *, n: int, matters: float = 0.0, needs: int = 5
) -> Finding:
    """The finding of a claim that each of the leading knobs goes more closely with the time than every other.

    Args:
        found: the correlations.
        leading: names of knobs.
        n: runs in the smallest cell.
        matters: the smallest lead that would matter.
        needs: runs in every cell.
    """
    names = list(found.estimate)
    if n == 0:
        return nothing("more", 0.0, matters, "lead in partial rank correlation", needs)
    first = [names.index(name) for name in leading]
    others = [i for i in range(len(names)) if i not in first]

    def lead(values_K: Floats) -> Floats:
        sizes = np.abs(values_K)
        margin: Floats = sizes[..., first].min(-1) - sizes[..., others].max(-1)
        return margin

    lead_B = lead(found.resampled_BK)
    low, high = (float(end) for end in np.quantile(lead_B, (0.025, 0.975)))
    effect = float(lead(np.array(list(found.estimate.values()))))
    p = (1 + int(np.sum(lead_B <= 0))) / (1 + len(lead_B))
    return Finding(effect, low, high, p, 0.0, matters, "more", "lead in partial rank correlation", n, needs)


def _partial(rank_RJ: Floats, weight_BR: Floats) -> Floats:
    """Partial correlation of each column but the last with the last, given the others, under weights of the runs; 0 for
    a column that does not vary."""
    total_B1 = weight_BR.sum(1, keepdims=True)
    mean_BJ = weight_BR @ rank_RJ / total_B1
    second_BJJ = np.einsum("br,rj,rk->bjk", weight_BR, rank_RJ, rank_RJ, optimize=True) / total_B1[..., None]
    covariance_BJJ = second_BJJ - mean_BJ[:, :, None] * mean_BJ[:, None, :]
    spread_BJ = np.sqrt(np.maximum(np.diagonal(covariance_BJJ, axis1=1, axis2=2), 0.0))
    varies_BJ = spread_BJ > 1e-9
    scale_BJ = np.where(varies_BJ, spread_BJ, 1.0)
    correlation_BJJ = covariance_BJJ / (scale_BJ[:, :, None] * scale_BJ[:, None, :])
    j = np.arange(rank_RJ.shape[1])
    correlation_BJJ[:, j, j] = 1.0 + 1e-9  # so that knobs that vary together can be inverted
    precision_BJJ = np.linalg.inv(correlation_BJJ)
    diagonal_BJ = np.diagonal(precision_BJJ, axis1=1, axis2=2)
    partial: Floats = -precision_BJJ[:, :-1, -1] / np.sqrt(diagonal_BJ[:, :-1] * diagonal_BJ[:, -1:])
    return np.where(varies_BJ[:, :-1], partial, 0.0)


def _ranks(values_R: Floats) -> Floats:
    _, place_R, count = np.unique(values_R, return_inverse=True, return_counts=True)
    middle: Floats = (np.cumsum(count) - (count + 1) / 2)[place_R]
    return middle
