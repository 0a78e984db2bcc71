"""Knobs that a hitting time goes with: partial rank correlations, and which are the largest.

The correlation of the ranks of a knob and of the time, given the ranks of all other knobs (Spearman's, from the inverse
of the correlation matrix). Runs that never hit the target tie last. Intervals are percentiles over resamples of the
runs within each cell. That one group of knobs explains more than another is tested by the share of resamples in which
the smallest correlation of the one does not exceed the largest of the other, both without their signs.

Shape letters: R runs, K knobs, B resamples.
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
    estimate_K = _partial(x_RK, time_R)
    resampled_BK = np.empty((n_resamples, len(knobs)))
    for b in range(n_resamples):
        taken = np.concatenate([cell[random.integers(len(cell), size=len(cell))] for cell in cells])
        resampled_BK[b] = _partial(x_RK[taken], time_R[taken])
    low_K, high_K = np.quantile(resampled_BK, (0.025, 0.975), axis=0) if n_resamples else (estimate_K, estimate_K)
    names = list(knobs)
    return RankCorrelations(
        *(dict(zip(names, map(float, values_K), strict=True)) for values_K in (estimate_K, low_K, high_K)), resampled_BK
    )


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


def _partial(x_RK: Floats, time_R: Floats) -> Floats:
    """Partial Spearman correlation of each column with the time, given the others; 0 for one that does not vary."""
    ranks = np.stack([_ranks(column) for column in (*x_RK.T, time_R)])
    centred = ranks - ranks.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    scaled = centred / np.where(norms > 0, norms, 1)[:, None]
    correlation = scaled @ scaled.T
    precision = np.linalg.pinv(correlation + np.diag(np.where(norms > 0, 0.0, 1.0)) + 1e-9 * np.eye(len(ranks)))
    diagonal = np.diag(precision)
    partial: Floats = -precision[:-1, -1] / np.sqrt(diagonal[:-1] * diagonal[-1])
    return np.where(norms[:-1] > 0, partial, 0.0)


def _ranks(values_R: Floats) -> Floats:
    _, place_R, count = np.unique(values_R, return_inverse=True, return_counts=True)
    middle: Floats = (np.cumsum(count) - (count + 1) / 2)[place_R]
    return middle
