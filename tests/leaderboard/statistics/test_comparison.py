"""Rank comparison of arms against SciPy, statsmodels, full enumeration and hand-computed cases."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from leaderboard.statistics.comparison import (
    N_PERMUTATIONS,
    Outcomes,
    Pair,
    holm,
    one_sided,
    outcomes,
    p_value,
    scores,
    statistic,
    tails,
)
from leaderboard.statistics.time_ratio import time_ratio
from tests.helpers.leaderboard.arms import arm, drawn
from tests.helpers.leaderboard.records import run_of


def by_enumeration(pairs: list[Pair]) -> float:
    """The exact two-sided p value: every permutation of every cell, ranks from SciPy."""
    cells = []
    for reference, new in pairs:
        rank_N = stats.rankdata(np.concatenate((reference.time_N, new.time_N)))
        n = len(rank_N)
        score_N = (rank_N - (n + 1) / 2) / (n + 1)
        sums = [score_N[list(chosen)].sum() for chosen in combinations(range(n), len(new))]
        cells.append((sums, score_N[len(reference) :].sum()))
    observed = sum(seen for _, seen in cells)
    totals = np.array([sum(each) for each in product(*(sums for sums, _ in cells))])
    more, less = (totals >= observed - 1e-9).mean(), (totals <= observed + 1e-9).mean()
    return min(1.0, 2 * min(more, less))


def monte_carlo_error(p: float) -> float:
    """Four standard errors of a two-sided p value, which is twice a share of the permutations."""
    return 8 * (p / 2 * (1 - p / 2) / N_PERMUTATIONS) ** 0.5 + 2 / N_PERMUTATIONS


def test_scores_by_hand() -> None:
    """Solved runs by time, then unsolved ones, which tie; the two at 300 share ranks 2 and 3."""
    reference, new = arm([100, 300, 2000]), arm([300, 2000, 2000])
    ranks = np.array([1, 2.5, 5, 2.5, 5, 5])
    assert scores([(reference, new)], [1.0])[:, 0] == pytest.approx(ranks - 3.5)


def test_scores_on_a_common_scale_by_hand() -> None:
    """At ratio 2 the new arm's times are halved, and nobody can be seen beyond 1000 / 2 steps: three runs tie."""
    reference, new = arm([200, 600]), arm([300, 900, 2000])
    ranks = np.array([2, 4.5, 1, 3, 4.5])  # 200, > 500, 150, 450, > 500
    assert scores([(reference, new)], [2.0])[:, 0] == pytest.approx(ranks - 3)
    ranks = np.array([1, 2, 4, 4, 4])  # 200, 600, then 600 / 0.5 = 1200 and more: beyond the budget
    assert scores([(reference, arm([600, 900, 2000]))], [0.5])[:, 0] == pytest.approx(ranks - 3)


@pytest.mark.parametrize("seed", range(4))
def test_p_value_is_the_permutation_tests(seed: int) -> None:
    """One cell without ties: SciPy's exact permutation test of the rank sum, and its exact Mann-Whitney test."""
    reference, new = drawn(seed, (7, 300), (5, 600), budget=100_000)

    def rank_sum(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return stats.rankdata(np.concatenate((x, y), axis=axis), axis=axis)[..., : x.shape[axis]].sum(axis=axis)

    exact = stats.permutation_test((new.time_N, reference.time_N), rank_sum, n_resamples=np.inf).pvalue
    whitney = stats.mannwhitneyu(new.time_N, reference.time_N, method="exact").pvalue
    assert exact == pytest.approx(whitney)
    assert p_value([(reference, new)]) == pytest.approx(exact, abs=monte_carlo_error(exact))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [((5, 4), (4, 3)), ((5, 3), (4, 4))])
def test_p_value_over_cells_is_that_of_full_enumeration(sizes: tuple[tuple[int, int], ...], seed: int) -> None:
    """Two cells, of different sizes and of one, with ties and unsolved runs."""
    random = np.random.default_rng(seed)

    def draw(n: int, shift: float) -> Outcomes:
        return arm(list(np.ceil(random.exponential(500, n) * shift / 100) * 100))

    pairs = [(draw(n, 1.0), draw(m, 1.8)) for n, m in sizes]
    exact = by_enumeration(pairs)
    assert p_value(pairs) == pytest.approx(exact, abs=monte_carlo_error(exact))


def test_smallest_p_value() -> None:
    """Five slower than all of five: 1 of C(10, 5) labellings on either side."""
    pairs = [(arm([10, 20, 30, 40, 50]), arm([60, 70, 80, 90, 100]))]
    assert p_value(pairs) == pytest.approx(2 / comb(10, 5), abs=monte_carlo_error(2 / comb(10, 5)))
    assert p_value([(arm([10.0]), arm([20.0]))]) == 1


def test_the_same_records_give_the_same_p_value() -> None:
    reference, new = drawn(0, (20, 300), (5, 500))
    assert len({p_value([(reference, new)] * 2) for _ in range(3)}) == 1


def test_where_nothing_is_solved_no_ratio_is_placed() -> None:
    ratio = time_ratio([(arm([2000.0] * 8), arm([2000.0] * 8))])
    assert (ratio.estimate, ratio.low, ratio.high, ratio.p) == (None, None, None, 1)


def test_scores_of_many_pairs_are_the_ranks_of_scipy() -> None:
    """Ties within and across the arms and unsolved runs included."""
    random = np.random.default_rng(5)
    ratios = [1.0, 0.4, 1.3, 5.0, 2.0]
    pairs = [
        (
            Outcomes(random.choice([50.0, 150, 450, 850, np.inf], 9), 1000),
            Outcomes(random.choice([50.0, 150, 300, 900, np.inf], 6), 1000),
        )
        for _ in ratios
    ]
    found_NK = scores(pairs, ratios)
    assert found_NK.shape == (15, 5)
    for place, (reference, new) in enumerate(pairs):
        limit = min(1000, 1000 / ratios[place])
        key = [*reference.time_N, *(new.time_N / ratios[place])]
        key = [time if time <= limit else np.inf for time in key]
        assert found_NK[:, place] == pytest.approx(stats.rankdata(key) - 8)


def test_statistic_is_positive_where_the_new_arm_is_slower() -> None:
    reference, new = arm([100.0, 200.0]), arm([300.0, 400.0])
    assert statistic([(scores([(reference, new)], [1.0]), 2)]) == pytest.approx([(3 + 4 - 5) / 5])
    assert statistic([(scores([(reference, new)], [16.0]), 2)]) == pytest.approx([(1 + 2 - 5) / 5])


@pytest.mark.parametrize("seed", range(4))
def test_statistic_is_the_sum_of_mann_whitney_s(seed: int) -> None:
    """Ties, unsolved runs and cells of unequal size included."""
    pairs: list[Pair] = []
    for n, m in ((6, 4), (5, 9)):
        reference, new = drawn(seed, (n, 600), (m, 500 + 200 * seed))
        pairs.append((reference, arm(sorted([*new.time_N[1:], reference.time_N[0]]))))
    expected = sum(
        (stats.mannwhitneyu(np.minimum(new.time_N, 2000), np.minimum(reference.time_N, 2000)).statistic - half)
        / (len(reference) + len(new) + 1)
        for reference, new in pairs
        for half in (len(reference) * len(new) / 2,)
    )
    cells = [(scores([pair], [1.0]), len(pair[1])) for pair in pairs]
    assert statistic(cells) == pytest.approx([expected], abs=1e-12)


@pytest.mark.slow
def test_holm_is_that_of_statsmodels() -> None:
    random = np.random.default_rng(0)
    for n in (1, 2, 4, 9):
        values = list(random.random(n) ** 3)
        assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])
    assert holm([]) == []


def test_comparisons_side_by_side() -> None:
    """`tails` of many comparisons gives for each what it gives alone."""
    cells: list[Pair] = [(arms[0], arms[1]) for arms in (drawn(seed, (8, 300), (5, 400)) for seed in range(3))]
    together = tails([(scores(cells, [1.0] * 3), 5)])
    for place, cell in enumerate(cells):
        alone = tails([(scores([cell], [1.0]), 5)])
        assert [values[place] for values in together] == [values[0] for values in alone]


def test_outcomes_of_records() -> None:
    """The middle of the evaluation interval; a diverged run counts as unsolved even if it had hit the target."""
    records = [
        run_of("solved", 0, 600),
        run_of("censored", 1),
        run_of(
            "diverged", 2, 700, hits={name: {"step": 600, "previous_step": 550} for name in ("rows_50", "rows_100")}
        ),
        run_of("interrupted", 3, 400),
        run_of("error", 4, 400),
        run_of("solved", 5, 50, hits={name: {"step": 50, "previous_step": None} for name in ("rows_50", "rows_100")}),
    ]
    found = outcomes(records)
    assert found is not None
    assert list(found.time_N) == [25, 575, np.inf, np.inf]
    assert (found.budget, found.n_solved, len(found)) == (1000, 2, 4)
    assert outcomes(records[3:5]) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: p_value([]), "needs a cell that both arms have outcomes in"),
        (lambda: one_sided([(arm([1.0]), arm([1.0]))], 0.0), "ratio must be positive, got 0.0"),
        (lambda: scores([(arm([1.0], 100), arm([1.0], 200))], [1.0]), "budgets differ: 100 and 200 steps"),
    ],
)
def test_misuse(call, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
