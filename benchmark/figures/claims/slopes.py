"""Growth of a hitting time with a knob: the factor for each unit of x, by inverted permutation tests of a trend.

The model is log time = a + x log f + noise of any distribution (accelerated failure times). For a factor f, times are
divided by f^x; what some run of a stratum could not have shown within its budget on that scale is unsolved in all, and
unsolved runs tie last. The statistic is the sum over strata of sum((x - mean x) * rank) / (N + 1); its null
distribution is that of permuting x within strata, so that the p value of a trend (f = 1) is exact, censored runs or
not, and whatever the distribution. The estimate is the factor at which the statistic changes sign (Sen 1968; Akritas,
Murphy and LaValley 1995 for censored times), the interval holds the factors that are not rejected. With two values of
x it is the time ratio of `leaderboard.statistics.time_ratio`, whose search for the ends it shares.

Runs of equal seeds in several cells share their matrix or rules; the permutations ignore that, which makes the test of
a trend conservative.

Shape letters: N runs of a stratum, M permutations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, log
from typing import Literal

import numpy as np

from benchmark.figures.figure_runs import FigureRun, Floats, Runs, by
from benchmark.figures.judging import Finding, nothing
from leaderboard.statistics.comparison import HAIR, STREAM
from leaderboard.statistics.time_ratio import Ratio, search

N_PERMUTATIONS = 1_999
"""Of every p value; the smallest is then 1 / 2,000."""


@dataclass(frozen=True)
class Stratum:
    """Runs that are compared with one another.

    Attributes:
        x_N: the knob, on the scale on which growth is counted.
        time_N: hitting times, inf where unsolved.
        budget: the fewest steps that one of them could take; later hits count as unsolved.
    """

    x_N: Floats
    time_N: Floats
    budget: float


@dataclass(frozen=True)
class Slope:
    """Growth of times for each unit of x.

    Attributes:
        factor: with its interval; estimate and ends may be None, see `Ratio`.
        p_more, p_less: one-sided p values of no growth against growth, and against decline.
    """

    factor: Ratio
    p_more: float
    p_less: float


def slope(strata: Sequence[Stratum], n_permutations: int = N_PERMUTATIONS) -> Slope:
    """The growth over all strata together.

    Raises:
        ValueError: no stratum in which x takes two values.
    """
    strata = [stratum for stratum in strata if np.ptp(stratum.x_N) > 0]
    if not strata:
        raise ValueError("growth needs runs at two values of the knob")
    p_more, p_less = tails(strata, 0.0, n_permutations)[1:]
    steps = search(0.05)
    question = next(steps)
    while True:
        answer = tails(strata, log(question.ratio), n_permutations if question.n_permutations else 0)
        try:
            question = steps.send(answer)
        except StopIteration as end:
            return Slope(end.value, p_more, p_less)


def tails(strata: Sequence[Stratum], log_factor: float, n_permutations: int) -> tuple[float, float, float]:
    """The statistic at a log factor, and the shares of permutations with at least and with at most that much; the order
    as it is counts as one of them. Without permutations both shares are 1."""
    observed, drawn_M = 0.0, np.zeros(n_permutations)
    for place, stratum in enumerate(strata):
        rank_N = _ranks(stratum, log_factor) / (len(stratum.x_N) + 1)
        x_N = stratum.x_N - stratum.x_N.mean()
        observed += float(x_N @ rank_N)
        if n_permutations:
            drawn_M += _permuted(place, tuple(x_N.tolist()), n_permutations) @ rank_N
    if not n_permutations:
        return observed, 1.0, 1.0
    more = (1 + int(np.count_nonzero(drawn_M >= observed - HAIR))) / (1 + n_permutations)
    less = (1 + int(np.count_nonzero(drawn_M <= observed + HAIR))) / (1 + n_permutations)
    return observed, more, less


def _ranks(stratum: Stratum, log_factor: float) -> Floats:
    """Rank - expected rank on the scale of a log factor; those that tie share the middle of their places."""
    time_N = np.where(stratum.time_N > stratum.budget, inf, stratum.time_N)
    with np.errstate(divide="ignore"):
        key_N = np.log(np.maximum(time_N, 1e-9)) - log_factor * stratum.x_N
    limit = float(np.min(log(stratum.budget) - log_factor * stratum.x_N))
    key_N = np.where(key_N > limit + HAIR, inf, np.round(key_N, 9))
    _, place_N, count = np.unique(key_N, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count + 1) / 2
    ranks: Floats = middle[place_N] - (len(key_N) - 1) / 2
    return ranks


@lru_cache(maxsize=64)
def _permuted(place: int, x_N: tuple[float, ...], n_permutations: int) -> Floats:
    """The knob in each permutation, shape (M, N), from a fixed random stream."""
    random = np.random.Generator(np.random.Philox(key=[STREAM, place]))
    order_MN = random.random((n_permutations, len(x_N))).argsort(axis=1)
    permuted: Floats = np.array(x_N)[order_MN]
    return permuted


def growth(
    runs: Runs,
    x: Callable[[FigureRun], float],
    target: str,
    *,
    claimed: Literal["more", "less"],
    matters: float,
    unit: str,
    strata: Sequence[str] = (),
    null: float = 1.0,
    needs: int = 5,
    n_permutations: int = N_PERMUTATIONS,
) -> Finding:
    """The finding of a claim about the factor by which a hitting time grows with a knob.

    Args:
        runs: of all cells.
        x: the knob of a run, such as the binary logarithm of its state size.
        target: whose hitting time it is.
        claimed: the side of `null` on which the factor is said to lie.
        matters: the factor nearest to the null on that side that would matter.
        unit: of the factor.
        strata: knobs; only runs that share their values are compared.
        null: the factor that is tested.
        needs: runs in every cell.
        n_permutations: M.
    """
    made = []
    for group in by(runs, *strata).values():
        ordered = sorted(group, key=lambda run: (x(run), run.times[target]))  # so that no order of reading matters
        made.append(
            Stratum(
                np.array([x(run) for run in ordered], dtype=np.float64),
                np.array([run.times[target] for run in ordered]),
                min(run.budget for run in ordered),
            )
        )
    if not any(np.ptp(stratum.x_N) > 0 for stratum in made):
        return nothing(claimed, null, matters, unit, needs)
    fewest = min(int(np.unique(stratum.x_N, return_counts=True)[1].min()) for stratum in made)
    found = slope(made, n_permutations)
    usable = [stratum for stratum in made if np.ptp(stratum.x_N) > 0]
    p = tails(usable, log(null), n_permutations)[1 if claimed == "more" else 2]
    factor = found.factor
    return Finding(factor.estimate, factor.low, factor.high, p, null, matters, claimed, unit, fewest, needs)
