"""Rank comparison of arms against SciPy, statsmodels, full enumeration and hand-computed cases."""

from itertools import combinations, product
from math import comb, exp, log

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from leaderboard.comparison import (
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
from leaderboard.time_ratio import MAX_RATIO, time_ratio, time_ratios
from tests.leaderboard.records import run_of


def arm(times: list[float], budget: int = 1000, losses: list[float] | None = None) -> Outcomes:
    """Runs that solved at these times; those beyond the budget did not and ended at the losses given, or all at 0.5."""
    time_N = np.array([time if time <= budget else np.inf for time in times])
    return Outcomes(time_N, np.full(len(times), 0.5) if losses is None else np.array(losses), budget)


def drawn(seed: int, *sizes: tuple[int, float], budget: int = 1000, sigma: float = 0.55) -> list[Outcomes]:
    """Arms of log-normal times: (runs, median) each."""
    random = np.random.default_rng(seed)
    return [arm(list(median * np.exp(sigma * random.standard_normal(n))), budget) for n, median in sizes]


def by_enumeration(pairs: list[Pair]) -> float:
    """The exact two-sided p value: every permutation of every cell, ranks from SciPy."""
    cells = []
    for reference, new in pairs:
        key = [
            (time, loss if np.isinf(time) else 0.0)
            for each in (reference, new)
            for time, loss in zip(each.time_N, each.loss_N, strict=True)
        ]
        rank_N = stats.rankdata([sorted(set(key)).index(one) for one in key])
        n = len(key)
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
    """Solved runs by time, then unsolved ones by loss, a diverged one last; the two at 300 share ranks 2 and 3."""
    reference = Outcomes(np.array([100, 300, np.inf]), np.array([0.0, 0.0, 0.4]), 1000)
    new = Outcomes(np.array([300, np.inf, np.inf]), np.array([0.0, 0.2, np.inf]), 1000)
    ranks = np.array([1, 2.5, 5, 2.5, 4, 6])
    assert scores([(reference, new)])[:, 0] == pytest.approx(ranks - 3.5)


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
    """Two cells, of different sizes and of one, with ties, unsolved and diverged runs."""
    random = np.random.default_rng(seed)

    def draw(n: int, shift: float) -> Outcomes:
        time_N = np.ceil(random.exponential(500, n) * shift / 100) * 100
        loss_N = random.choice([0.3, 0.4, np.inf], n)
        return Outcomes(np.where(time_N <= 1000, time_N, np.inf), loss_N, 1000)

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


def test_progress_decides_where_nothing_is_solved() -> None:
    """The composite rank; a time ratio says nothing there."""
    pairs = [(arm([2000] * 8, losses=list(np.linspace(0.6, 0.69, 8))), arm([2000] * 8, losses=[0.4] * 8))]
    slower, faster = one_sided(pairs, None)
    assert faster < 0.001 and slower > 0.999
    ratio = time_ratio(pairs)
    assert (ratio.estimate, ratio.low, ratio.high) == (None, None, None)
    assert ratio.p < 0.002


def test_diverged_is_worse_than_any_progress() -> None:
    stuck = arm([2000] * 8, losses=[0.7] * 8)
    assert one_sided([(stuck, arm([2000] * 8, losses=[np.inf] * 8))], None)[0] < 0.001


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


@pytest.mark.parametrize("ratios", [None, [1.0, 0.4, 1.3, 5.0, 2.0]])
def test_scores_of_many_pairs_are_the_ranks_of_scipy(ratios: list[float] | None) -> None:
    """Ties within and across the arms and unsolved runs with and without a loss of their own included."""
    random = np.random.default_rng(5)
    pairs = [
        (
            Outcomes(random.choice([50.0, 150, 450, 850, np.inf], 9), random.choice([0.2, 0.3, np.inf], 9), 1000),
            Outcomes(random.choice([50.0, 150, 300, 900, np.inf], 6), random.choice([0.2, 0.3, np.inf], 6), 1000),
        )
        for _ in range(5)
    ]
    found_NK = scores(pairs, ratios)
    assert found_NK.shape == (15, 5)
    for place, (reference, new) in enumerate(pairs):
        if ratios is None:
            times, losses = (np.concatenate((getattr(reference, name), getattr(new, name))) for name in FIELDS)
            key = [time if np.isfinite(time) else 1000 + loss for time, loss in zip(times, losses, strict=True)]
        else:
            limit = min(1000, 1000 / ratios[place])
            key = [*reference.time_N, *(new.time_N / ratios[place])]
            key = [time if time <= limit else np.inf for time in key]
        assert found_NK[:, place] == pytest.approx(stats.rankdata(key) - 8)


FIELDS = ("time_N", "loss_N")


def test_statistic_is_positive_where_the_new_arm_is_slower() -> None:
    reference, new = arm([100.0, 200.0]), arm([300.0, 400.0])
    assert statistic([(scores([(reference, new)]), 2)]) == pytest.approx([(3 + 4 - 5) / 5])
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


def test_holm_is_that_of_statsmodels() -> None:
    random = np.random.default_rng(0)
    for n in (1, 2, 4, 9):
        values = list(random.random(n) ** 3)
        assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])
    assert holm([]) == []


def test_comparisons_side_by_side() -> None:
    """`tails` of many comparisons gives for each what it gives alone."""
    cells: list[Pair] = [(arms[0], arms[1]) for arms in (drawn(seed, (8, 300), (5, 400)) for seed in range(3))]
    together = tails([(scores(cells), 5)])
    for place, cell in enumerate(cells):
        alone = tails([(scores([cell]), 5)])
        assert [values[place] for values in together] == [values[0] for values in alone]


def test_outcomes_of_records() -> None:
    """The middle of the evaluation interval; a diverged run counts as unsolved even if it had hit the target."""
    records = [
        run_of("solved", 0, 600),
        run_of("censored", 1, **{"final": {**FINAL, "loss_nats": 0.61}}),
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
    assert list(found.loss_N[2:]) == [0.61, np.inf]
    assert (found.budget, found.n_solved, len(found)) == (1000, 2, 4)
    assert outcomes(records[3:5]) is None


FINAL = {
    "step": 1000,
    "loss_nats": 0.5,
    "loss_scored_nats": 0.5,
    "accuracy": 0.5,
    "exact_match": 0.0,
    "task_metrics": {},
}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: p_value([]), "needs a cell that both arms have outcomes in"),
        (lambda: one_sided([(arm([1.0]), arm([1.0]))], 0.0), "ratio must be positive, got 0.0"),
        (lambda: scores([(arm([1.0], 100), arm([1.0], 200))]), "budgets differ: 100 and 200 steps"),
    ],
)
def test_misuse(call, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
