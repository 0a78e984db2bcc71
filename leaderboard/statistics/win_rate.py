"""Win rate of an entry against a reference: how often a random seed of the one is ahead of a random seed of the other.

Within a cell a run is ahead of another if it solved sooner, or solved where the other did not, or got further where
neither did; a tie counts one half. The share of pairs in which the entry is ahead is Mann and Whitney's (1947) U over
the number of pairs, the area under the curve that separates the two arms. A task's win rate is the mean over its cells.

Interval and p value are one test read in two ways: a null value is outside of the interval of level 1 - a exactly where
its p value is below a. The variance is that of the placements, the share of the other arm that each run is ahead of
(DeLong, DeLong and Clarke-Pearson 1988), so that it asks for no equal distributions. To keep it from vanishing where
one arm is ahead of all of the other, each arm is given two more runs of weight 1/4, one better and one worse than
everything; and where most runs tie, the part of an arm of n runs is at least 1 / (4 n (n + 1)). Win rate t and variance
V of these arms are those of t (1 - t) / V coin tosses, and that many tosses enter the score statistic and the score
interval of a proportion (Wilson 1927).

- A task's statistic is compared with Student's t, its degrees of freedom after Welch (1947) and Satterthwaite (1946).
- One cell's is compared with the same statistic under permuted labels of the runs. It is studentised, and hence valid
  for unequal spreads as the arms grow (Chung and Romano 2013). Where many runs tie, few labels make a difference, and
  what the statistic is under them says little about other win rates: it counts as no smaller than that of as many runs
  without a tie. (Without this, intervals of the level 95 % held the truth in 35 % of cells that one run in ten solved.)

`win_rate_simulation.py` measures coverage and false alarms of both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from math import ceil, comb, inf, isnan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leaderboard.statistics.student import two_sided_quantile, two_sided_tail

FloatArray = NDArray[np.float64]

Finish = tuple[float | None, float]
"""How a run ended: the step at which it solved, None if it did not, and its progress: larger is further.

Progress is read where neither of two runs solved. A run that counts as the worst of all, such as one that diverged, has
-inf.
"""

N_PERMUTATIONS = 9_999  # of one cell's labels, unless there are no more than that; the smallest p value is then 1e-4
MIN_SEEDS_ONE_CELL = 10  # of either arm: if not all distributions are equal, no test of n runs has p below 2 / 2^n
STREAM = 2606_25010  # of the permutations; another number changes p values by their Monte Carlo error
_HAIR = 1e-9  # equal statistics must count as equal, whatever the order they were added in


@dataclass(frozen=True)
class CellRuns:
    """The runs of both arms in one cell that have an outcome.

    Raises:
        ValueError: an arm without a run, a step that is not finite, or a progress that is NaN.
    """

    entry: Sequence[Finish]
    reference: Sequence[Finish]

    def __post_init__(self) -> None:
        for whose, runs in (("entry", self.entry), ("reference", self.reference)):
            if not runs:
                raise ValueError(f"the {whose} has no run in the cell")
            for step, progress in runs:
                if step is not None and not -inf < step < inf:
                    raise ValueError(f"a step of the {whose} is {step}; it must be finite, or None where unsolved")
                if isnan(progress):
                    raise ValueError(f"a progress of the {whose} is NaN; runs are ordered by it")

    @property
    def fewest(self) -> int:
        """Number of runs of the smaller arm."""
        return min(len(self.entry), len(self.reference))


@dataclass(frozen=True)
class ScoreTest(ABC):
    """A win rate with the test of every null value, and the interval that is dual to it.

    Attributes:
        estimate: share of pairs in which the entry is ahead, in [0, 1]; 0.5 means equal.
        n_eff: number of coin tosses that would place a win rate as surely.
        decided: share of pairs that are not tied.
    """

    estimate: float
    n_eff: float
    decided: float

    def p(self, null: float = 0.5) -> float:
        """Two-sided p value of "the win rate is `null`".

        Raises:
            ValueError: a null value outside [0, 1].
        """
        if not 0 <= null <= 1:
            raise ValueError(f"a win rate lies between 0 and 1, got {null}")
        return self._tail(float(score(self.estimate, self.n_eff, null)))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The null values with p >= 1 - level: within [0, 1], and of a width above 0.

        Raises:
            ValueError: a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}")
        quantile = self._quantile(1 - level)
        if quantile == inf:
            return 0.0, 1.0
        spread = quantile * quantile / self.n_eff

        def low(share: float) -> float:
            """Wilson's lower end, as share^2 / upper end / (1 + spread), which neither cancels nor rounds below 0."""
            return share * share / (share + spread / 2 + sqrt(spread * (share * (1 - share) + spread / 4)))

        return low(self.estimate), 1 - low(1 - self.estimate)

    @abstractmethod
    def _tail(self, statistic: float) -> float:
        """Probability of a statistic at least as large."""

    @abstractmethod
    def _quantile(self, level: float) -> float:
        """The statistic above which, and nowhere else, `_tail` is below a level."""


@dataclass(frozen=True)
class TaskWinRate(ScoreTest):
    """A win rate over the cells of a task: "score t".

    Attributes:
        df: degrees of freedom of Student's t. 0 where an arm has one run only, whose spread is unknown: the p value of
            everything is then 1, the interval [0, 1].
    """

    df: float

    def _tail(self, statistic: float) -> float:
        return float(two_sided_tail(statistic, self.df))

    def _quantile(self, level: float) -> float:
        return two_sided_quantile(level, self.df)


@dataclass(frozen=True)
class CellWinRate(ScoreTest):
    """A win rate in one cell alone: "score perm".

    Attributes:
        n_entry, n_reference: runs of the arms.
        null_K: the statistics under permuted labels, the smallest first. The last is infinite: it stands for the labels
            as they are, which count among them (Phipson and Smyth 2010).
    """

    n_entry: int
    n_reference: int
    null_K: FloatArray = field(repr=False, compare=False)

    @property
    def supports_claim(self) -> bool:
        """If the arms have as many runs as a claim on one cell alone needs."""
        return min(self.n_entry, self.n_reference) >= MIN_SEEDS_ONE_CELL

    def _tail(self, statistic: float) -> float:
        n = len(self.null_K)
        return float(n - np.searchsorted(self.null_K, statistic)) / n

    def _quantile(self, level: float) -> float:
        rejected = max(0, ceil(level * len(self.null_K) - _HAIR) - 1)  # the most as large as it where p < level
        return float(self.null_K[-1 - rejected])


def task_win_rate(cells: Sequence[CellRuns]) -> TaskWinRate:
    """Mean over the cells of the share of pairs in which the entry is ahead, with its test.

    Raises:
        ValueError: no cell.
    """
    if not cells:
        raise ValueError("needs a cell that both arms have runs in")
    parts = [cell_parts(wins_MN, *wins_MN.shape) for wins_MN in map(wins, cells)]
    n_eff, df = combined(np.array(parts), [(len(cell.entry), len(cell.reference)) for cell in cells])
    estimate, decided = np.mean(parts, axis=0)[[0, 4]]
    return TaskWinRate(float(estimate), float(n_eff), float(decided), float(df))


def cell_win_rate(cell: CellRuns, n_permutations: int = N_PERMUTATIONS) -> CellWinRate:
    """Share of pairs of one cell in which the entry is ahead, with its test.

    The permutations come from a fixed random stream: equal runs, in any order, have equal p values, and exchanged arms
    have them too. Where there are no more than `n_permutations` of them, each is used once.
    """
    m, n = len(cell.entry), len(cell.reference)
    wins_MN = wins(cell)
    part = cell_parts(wins_MN, m, n)
    n_eff, _ = combined(part[None], [(m, n)])
    everyone = CellRuns((*cell.entry, *cell.reference), (*cell.entry, *cell.reference))
    # A run that ties with k others, itself included, and is behind b stands at b + k / 2: places say who ties.
    places = np.sort(wins(everyone).sum(axis=0))
    ties = np.unique(places, return_counts=True)[1]
    null_K = _null_statistics(tuple(ties.tolist()), min(m, n), n_permutations)
    return CellWinRate(float(part[0]), float(n_eff), float(part[4]), m, n, null_K)


def overall(tasks: Sequence[TaskWinRate]) -> float:
    """Mean of the win rates of the tasks: it orders entries, and never stands without the win rates themselves.

    It is a number without an interval: an entry can be ahead on one task and behind on another, and which of them
    weighs more is not for the data to say.

    Raises:
        ValueError: no task.
    """
    if not tasks:
        raise ValueError("needs a task")
    return sum(task.estimate for task in tasks) / len(tasks)


def wins(cell: CellRuns) -> FloatArray:
    """1 where the entry's run is ahead of the reference's, 1/2 where they tie, 0 where it is behind. Shape (M, N)."""
    (step_M1, progress_M1), (step_N, progress_N) = _columns(cell.entry)[..., None], _columns(cell.reference)
    unsolved_MN = np.isinf(step_M1) & np.isinf(step_N)
    ahead_MN = np.where(unsolved_MN, progress_M1 > progress_N, step_M1 < step_N)
    behind_MN = np.where(unsolved_MN, progress_M1 < progress_N, step_M1 > step_N)
    return (1.0 + ahead_MN - behind_MN) / 2


def cell_parts(wins_KMN: FloatArray, m: int, n: int) -> FloatArray:
    """Summands of a cell, shape (..., 5): win rate, the same of the arms with their additional runs, the two parts of
    its variance that stem from the entry's and from the reference's runs, and the share decided.

    Args:
        wins_KMN: as of `wins`; any number of leading dimensions.
    """
    by_entry_KM, by_reference_KN = wins_KMN.sum(axis=-1), wins_KMN.sum(axis=-2)
    parts = _parts(by_entry_KM.sum(axis=-1), (by_entry_KM**2).sum(axis=-1), (by_reference_KN**2).sum(axis=-1), m, n)
    return np.stack((*parts, (wins_KMN != 0.5).mean(axis=(-1, -2))), axis=-1)


def combined(parts_KC5: FloatArray, sizes: Sequence[tuple[int, int]]) -> tuple[FloatArray, FloatArray]:
    """Effective number of coin tosses, and degrees of freedom by Welch and Satterthwaite, over C cells.

    Args:
        parts_KC5: as of `cell_parts`; any number of leading dimensions.
        sizes: runs of the entry and of the reference in each cell.
    """
    centre_K = parts_KC5[..., 1].mean(axis=-1)
    variance_KC2 = parts_KC5[..., 2:4]
    df_C2 = np.array(sizes, dtype=np.float64) - 1
    total_K = variance_KC2.sum(axis=(-1, -2))
    with np.errstate(divide="ignore"):  # a variance of one run has no degree of freedom
        df_K = total_K**2 / (variance_KC2**2 / df_C2).sum(axis=(-1, -2))
    return centre_K * (1 - centre_K) * len(sizes) ** 2 / total_K, df_K


def score(estimate_K: ArrayLike, n_eff_K: ArrayLike, null: float) -> FloatArray:
    """|estimate - null| in units of what n_eff coin tosses spread at the null value; infinite at a null of 0 or 1."""
    distance_K = np.abs(np.asarray(estimate_K, dtype=np.float64) - null)
    if null in (0, 1):
        return np.where(distance_K == 0, 0.0, inf)
    return distance_K * np.sqrt(np.asarray(n_eff_K) / (null * (1 - null)))


def _parts(
    sum_K: FloatArray, entry_squares_K: FloatArray, reference_squares_K: FloatArray, m: int, n: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The first four of `cell_parts` from the sum over all pairs, and the sums of the squares of its margins."""
    weight_m, weight_n = m + 0.5, n + 0.5
    # The additional runs of the entry add 1 (the better) and 0 (the worse) of weight 1/4 at each run of the reference,
    # those of the reference 0 and 1 at each run of the entry; among themselves they win 1, tie twice and lose 1.
    centre_K = (sum_K + (m + n) / 4 + 1 / 8) / (weight_m * weight_n)

    def variance(squares_K: FloatArray, own: int, other: int) -> FloatArray:
        """Of the placements (margin + 1/4) / (other + 1/2), and 1/8 and other + 3/8 of the additional two."""
        weight = own + 0.5
        total_K = squares_K + sum_K / 2 + own / 16 + (1 / 64 + (other + 3 / 8) ** 2) / 4
        variance_K = (total_K / (other + 0.5) ** 2 / weight - centre_K**2) / (weight - 1)
        return np.maximum(variance_K, 1 / (4 * own * (own + 1)))

    return sum_K / (m * n), centre_K, variance(entry_squares_K, m, n), variance(reference_squares_K, n, m)


@lru_cache(maxsize=256)
def _null_statistics(ties: tuple[int, ...], m: int, n_permutations: int) -> FloatArray:
    """Statistics of the null 1/2 if m of the runs, which tie in groups of these sizes, were the entry's; sorted.

    Exchanging the arms changes none of them: m is the smaller arm.
    """
    runs = sum(ties)
    n = runs - m
    exhaustive = comb(runs, m) <= n_permutations
    entry_KR = _all_choices(runs, m) if exhaustive else _random_choices(runs, m, n_permutations)
    place_R = np.repeat(np.arange(len(ties)), ties)
    wins_RR = (1.0 + np.sign(place_R - place_R[:, None])) / 2
    ahead_KR = entry_KR @ wins_RR  # runs called the entry's that are ahead of each run
    # Runs of the reference that are behind it: all that are, without the entry's, which are m - ahead of them.
    behind_KR = (wins_RR.sum(axis=1) - m) + ahead_KR
    estimate_K, centre_K, *variances_K = _parts(
        (ahead_KR * (1 - entry_KR)).sum(axis=1),
        (behind_KR**2 * entry_KR).sum(axis=1),
        (ahead_KR**2 * (1 - entry_KR)).sum(axis=1),
        m,
        n,
    )
    statistic_K = np.sort(score(estimate_K, centre_K * (1 - centre_K) / sum(variances_K), 0.5)) * (1 + _HAIR) + _HAIR
    if exhaustive:
        statistic_K[-1] = inf
    else:
        statistic_K = np.append(statistic_K, inf)
    untied = (1,) * runs
    return statistic_K if ties == untied else np.maximum(statistic_K, _null_statistics(untied, m, n_permutations))


def _all_choices(runs: int, m: int) -> FloatArray:
    chosen = np.array(list(combinations(range(runs), m)))
    choices_KR = np.zeros((len(chosen), runs))
    np.put_along_axis(choices_KR, chosen, 1.0, axis=1)
    return choices_KR


@lru_cache(maxsize=16)
def _random_choices(runs: int, m: int, n_permutations: int) -> FloatArray:
    random = np.random.Generator(np.random.Philox(key=STREAM))
    choices_KR = np.zeros((n_permutations, runs))
    np.put_along_axis(choices_KR, random.random((n_permutations, runs)).argsort(axis=1)[:, :m], 1.0, axis=1)
    return choices_KR


def _columns(runs: Sequence[Finish]) -> FloatArray:
    """Steps, infinite where unsolved, and progress. Shape (2, R)."""
    return np.array([[inf if step is None else step for step, _ in runs], [progress for _, progress in runs]])
