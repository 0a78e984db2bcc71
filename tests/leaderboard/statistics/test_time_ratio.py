"""Time ratios against Hodges and Lehmann, SciPy, simulation and hand-computed cases."""

from itertools import combinations
from math import comb, exp, log

import numpy as np
import pytest

from leaderboard.statistics.comparison import Pair
from leaderboard.statistics.time_ratio import MAX_RATIO, _agreeing, time_ratio, time_ratios
from tests.helpers.leaderboard.arms import arm, drawn


@pytest.mark.parametrize("seed", range(5))
def test_estimate_is_that_of_hodges_and_lehmann(seed: int) -> None:
    """One cell in which all is solved: the median of all pairwise ratios."""
    reference, new = drawn(seed, (9, 300), (6, 450), budget=10**9)
    ratio_MN = new.time_N[:, None] / reference.time_N[None, :]
    ratio = time_ratio([(reference, new)])
    assert ratio.estimate is not None
    assert log(ratio.estimate) == pytest.approx(np.median(np.log(ratio_MN)), abs=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_interval_is_the_inverted_rank_test(seed: int) -> None:
    """One cell in which all is solved: order statistics of the pairwise ratios at the exact test's critical value."""
    reference, new = drawn(seed, (12, 300), (8, 450), budget=10**9)
    ratio_K = np.sort((new.time_N[:, None] / reference.time_N[None, :]).reshape(-1))
    n, m = len(new), len(reference)
    # Largest u with P(U <= u) < 2.5 %; an interval then begins at the (u + 1)-th ratio.
    sums = [sum(chosen) - n * (n + 1) // 2 for chosen in combinations(range(1, n + m + 1), n)]
    tail = np.cumsum(np.bincount(sums)) / comb(n + m, n)
    critical = int(np.searchsorted(tail, 0.025)) - 1
    ratio = time_ratio([(reference, new)])
    assert ratio.low is not None and ratio.high is not None
    # Monte Carlo, with its 2,000 permutations, may move a bound by a few of the 96 order statistics.
    assert ratio_K[critical - 3] * 0.998 <= ratio.low <= ratio_K[critical + 3] * 1.002
    assert ratio_K[-critical - 4] * 0.998 <= ratio.high <= ratio_K[-critical + 2] * 1.002


def test_ratio_and_its_reciprocal() -> None:
    reference, new = drawn(3, (20, 300), (10, 500), budget=10**9)
    there, back = time_ratio([(reference, new)]), time_ratio([(new, reference)])
    assert there.estimate is not None and back.estimate is not None and there.low is not None and back.high is not None
    assert there.estimate * back.estimate == pytest.approx(1, abs=5e-3)
    assert there.low * back.high == pytest.approx(1, abs=0.06)


@pytest.mark.slow
def test_interval_covers_the_truth() -> None:
    """95 % intervals of a ratio of 1.7, censored at the budget, in two cells: about 95 in 100."""
    covered, placed = 0, []
    for seed in range(100):
        first, second = drawn(seed, (20, 300), (8, 510)), drawn(1000 + seed, (20, 700), (8, 1190))
        ratio = time_ratio([(first[0], first[1]), (second[0], second[1])])
        covered += (ratio.low or 0) <= 1.7 <= (ratio.high or np.inf)
        placed.append(log(ratio.estimate or 1))
    assert 90 <= covered <= 99
    assert exp(float(np.mean(placed))) == pytest.approx(1.7, rel=0.06)


def test_an_arm_that_never_solves_has_only_a_lower_bound() -> None:
    reference = arm([100.0 + k for k in range(20)])
    ratio = time_ratio([(reference, arm([5000.0] * 10))])
    assert (ratio.estimate, ratio.high) == (None, None)
    # Beyond 1000 / 119 and a bit no reference run could be told from an unsolved one.
    assert ratio.low is not None and 8.3 < ratio.low < 10
    ratio = time_ratio([(arm([5000.0] * 10), reference)])
    assert (ratio.estimate, ratio.low) == (None, None)
    assert ratio.high is not None and 0.1 < ratio.high < 0.12


def test_a_ratio_beyond_those_looked_for() -> None:
    """Solved at the first evaluation against never: even 64 times the steps is too few."""
    first, never = arm([12.5] * 10, 3000), arm([5000.0] * 10, 3000)
    ratio, back = time_ratio([(first, never)]), time_ratio([(never, first)])
    assert (ratio.estimate, ratio.high, back.estimate, back.low) == (None, None, None, None)
    assert ratio.low == pytest.approx(MAX_RATIO, rel=0.01) and back.high == pytest.approx(1 / MAX_RATIO, rel=0.01)


@pytest.mark.slow
def test_many_ratios_are_those_of_each_alone() -> None:
    """Arms of unlike sizes, one and two cells, ratios that the data do not bound, more of a kind than fit at once."""
    reference, other = drawn(0, (20, 400), (12, 600))
    comparisons: list[list[Pair]] = [
        [(reference, new)] for seed in range(70) for new in drawn(seed, (5, 100 + 40 * seed))
    ]
    comparisons += [[(reference, new)] for new in drawn(1, (7, 300), (5, 5000))]
    comparisons += [[(reference, one), (other, two)] for one, two in (drawn(2, (5, 500), (5, 300)),)]
    assert time_ratios(comparisons) == [time_ratio(pairs) for pairs in comparisons]
    assert time_ratios([]) == []


def test_a_far_ratio_keeps_its_upper_bound() -> None:
    """Ten times slower, near the budget: at 64 times nothing would be left to compare, but the bound comes before."""
    ratio = time_ratio([(arm([95.0 + k for k in range(10)]), arm([950.0 + k for k in range(10)]))])
    assert ratio.estimate == pytest.approx(9.6, rel=0.05)
    assert ratio.high is not None and ratio.high < 12


@pytest.mark.slow
def test_one_lies_in_the_interval_exactly_where_equal_times_are_not_rejected() -> None:
    """Random arms of unlike sizes and spreads, on coarse grids with ties, unsolved runs and ratios around 1."""
    random = np.random.default_rng(11)
    seen = {True: 0, False: 0}
    for draw in range(150):
        n, m = random.integers(2, 21, 2)
        sigma, grid = random.uniform(0.05, 0.8), random.choice([1.0, 25.0, 200.0])

        def of(runs: int, median: float, sigma: float = sigma, grid: float = grid) -> list[float]:
            times = median * np.exp(sigma * random.standard_normal(runs))
            return list((np.ceil(times / grid) - 0.5) * grid)

        median = random.uniform(150, 1300)
        ratio = time_ratio([(arm(of(n, median)), arm(of(m, median * random.uniform(0.4, 2.5))))])
        low, high = ratio.low or 0, np.inf if ratio.high is None else ratio.high
        assert (low <= 1 <= high) == (ratio.p >= 0.05), (draw, ratio)
        assert low <= high
        seen[ratio.p >= 0.05] += 1
    assert min(seen.values()) > 30


def test_next_to_an_end_of_the_interval_the_p_value_decides() -> None:
    """Ends that a bisection put a hair off 1, by hand; a p value of 0.05 does not reject."""
    assert _agreeing(1e-4, 0.5, 0.025, 0.9, 0.05) == (0.0, 0.5)
    assert _agreeing(None, -1e-4, 0.9, 0.025, 0.05) == (None, 0.0)
    low, high = _agreeing(-1e-4, 0.5, 0.024, 0.9, 0.05)
    assert low is not None and 0 < low < 0.01 and high == 0.5
    low, high = _agreeing(-0.5, 1e-4, 0.9, 0.024, 0.05)
    assert high is not None and -0.01 < high < 0 and low == -0.5
