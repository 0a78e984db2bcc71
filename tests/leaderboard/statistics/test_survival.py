"""Censored statistics against hand-computed cases and SciPy."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leaderboard.statistics.survival import (
    earliest_per_seed,
    kaplan_meier,
    median,
    restricted_mean,
    sample,
    wilson_interval,
)
from tests.helpers.leaderboard.records import START, make_record, run_of

# (steps, solved): ties among hits and between a hit and a censoring are frequent on purpose; at least one run.
arms = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=15)
NO_HIT = {"step": None, "previous_step": None}


# Newcombe (1998), Statistics in Medicine 17, table I: the score method without continuity correction.
@pytest.mark.parametrize(
    ("n_solved", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_published(n_solved: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(n_solved, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 5, 20])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_against_scipy(n: int, level: float) -> None:
    for n_solved in range(n + 1):
        theirs = stats.binomtest(n_solved, n).proportion_ci(level, method="wilson")
        low, high = wilson_interval(n_solved, n, level)
        assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        assert 0 <= low <= n_solved / n <= high <= 1


@pytest.mark.parametrize(("n_solved", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses(n_solved: int, n: int) -> None:
    with pytest.raises(ValueError, match="0 <= n_solved <= n"):
        wilson_interval(n_solved, n)


def test_kaplan_meier_by_hand() -> None:
    """Six runs; at 20 a hit and a censoring tie, and the censored run is at risk for the hit.

    at 10: 2 of 6 -> 4/6; at 20: 1 of 4 -> 3/4; at 30: censoring only; at 40: 1 of 1 -> 0.
    """
    curve = kaplan_meier([10, 10, 20, 20, 30, 40], [True, True, True, False, False, True])
    assert curve.steps.tolist() == [10, 20, 30, 40]
    assert curve.survival == pytest.approx([2 / 3, 1 / 2, 1 / 2, 0])
    theta = 1.959964 * math.sqrt(2 / (6 * 4) + 1 / (4 * 3)) / math.log(2)  # Greenwood's sum at 20, over |ln S|
    assert curve.low[1] == pytest.approx(0.5 ** math.exp(theta), abs=1e-6)
    assert curve.high[1] == pytest.approx(0.5 ** math.exp(-theta), abs=1e-6)


def test_survival_of_an_arm_that_never_solves() -> None:
    curve = kaplan_meier([100, 100, 100], [False, False, False])
    assert (curve.survival.tolist(), curve.low.tolist(), curve.high.tolist()) == ([1], [1], [1])
    assert median([100, 100, 100], [False] * 3) == median([100], [False])
    assert median([100], [False]).step is None
    assert median([100], [False]).low is None
    assert restricted_mean([100, 100, 100], [False] * 3, 100) == 100


@pytest.mark.slow
@given(arms)
def test_kaplan_meier_against_scipy(arm: list[tuple[int, bool]]) -> None:
    steps, solved = np.array([step for step, _ in arm]), np.array([hit for _, hit in arm])
    curve = kaplan_meier(steps, solved)
    theirs = stats.ecdf(stats.CensoredData(uncensored=steps[solved], right=steps[~solved])).sf
    np.testing.assert_allclose(curve.survival, theirs.evaluate(curve.steps), atol=1e-12)
    with warnings.catch_warnings(action="ignore"):  # SciPy warns where the band is undefined
        band = theirs.confidence_interval(method="log-log")
    inside = (curve.survival > 0) & (curve.survival < 1)
    np.testing.assert_allclose(curve.low[inside], band.low.evaluate(curve.steps)[inside], atol=1e-9)
    np.testing.assert_allclose(curve.high[inside], band.high.evaluate(curve.steps)[inside], atol=1e-9)


def test_median_by_hand() -> None:
    assert median([10, 10, 20, 20, 30, 40], [True, True, True, False, False, True]).step == 20
    assert median([1, 2, 3, 4], [True] * 4).step == 2  # the curve reaches 1/2 at the second of four
    assert median([1, 2, 3, 9], [True, False, False, False]).step is None  # stays at 3/4
    # Half of 24 runs: 23/24 * 22/23 * ... * 12/13 is a hair above 1/2 in floating point, and it counts as 1/2.
    assert median(range(1, 25), [True] * 24).step == 12


def test_median_interval_published() -> None:
    """Remission in weeks (Freireich 1963; Gehan 1965), log-log intervals as SAS PROC LIFETEST prints them."""
    relapsed = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    treated = median(relapsed + censored, [True] * 9 + [False] * 12)
    assert (treated.step, treated.low, treated.high) == (23, 13, None)
    placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    untreated = median(placebo, [True] * 21)
    assert (untreated.step, untreated.low, untreated.high) == (8, 4, 11)


@pytest.mark.slow
@given(arms)
def test_median_lies_in_its_interval(arm: list[tuple[int, bool]]) -> None:
    result = median([step for step, _ in arm], [hit for _, hit in arm])
    if result.step is not None:
        assert result.low is not None
        assert result.low <= result.step
        assert result.high is None or result.high >= result.step


def test_interval_of_the_median_covers() -> None:
    """Twenty runs, log-normal with true median 1,000, censored at 2,000: the interval holds 1,000 in about 95 %."""
    random = np.random.default_rng(0)
    times = np.ceil(1000 * np.exp(0.52 * random.standard_normal((1000, 20))))
    held = 0
    for row in times:
        result = median(np.minimum(row, 2000), row <= 2000)
        held += (result.low or np.inf) <= 1000 <= (result.high or np.inf)
    assert 0.92 < held / len(times) < 0.985


def test_restricted_mean_by_hand() -> None:
    """Censored at the budget only: the mean of min(step, budget). An earlier censoring: the area under the curve."""
    assert restricted_mean([200, 400, 1000, 1000], [True, True, False, False], 1000) == pytest.approx(650)
    assert restricted_mean([200, 400], [True, True], 1000) == pytest.approx(300)
    # 1 until 10, 2/3 until 20, 1/2 until 40
    arm = [10, 10, 20, 20, 30, 40], [True, True, True, False, False, True]
    assert restricted_mean(*arm, 40) == pytest.approx(10 + 10 * 2 / 3 + 20 / 2)
    assert restricted_mean(*arm, 15) == pytest.approx(10 + 5 * 2 / 3)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=15), st.integers(1, 30))
def test_restricted_mean_is_the_mean_of_the_capped_steps(steps: list[int], budget: int) -> None:
    capped = np.minimum(steps, budget)
    assert restricted_mean(capped, np.array(steps) <= budget, budget) == pytest.approx(capped.mean())


@pytest.mark.parametrize(
    ("steps", "solved", "words"),
    [
        ([], [], "one step and one flag"),
        ([1, 2], [True], "one step and one flag"),
        ([[1]], [[True]], "one step and one flag"),
        ([-1], [True], "finite and not negative"),
        ([math.nan], [True], "finite and not negative"),
    ],
)
def test_bad_input_is_refused(steps: list, solved: list, words: str) -> None:
    for function in (kaplan_meier, median):
        with pytest.raises(ValueError, match=words):
            function(steps, solved)
    with pytest.raises(ValueError, match=words):
        restricted_mean(steps, solved, 10)


def test_bad_level_and_budget_are_refused() -> None:
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 95"):
        wilson_interval(1, 2, 95)
    with pytest.raises(ValueError, match="budget must be positive"):
        restricted_mean([1], [True], 0)


def test_sample_of_every_status() -> None:
    """Diverged counts as unsolved at the budget, even after its hit; error and interrupted are no observations."""
    late = make_record(status="diverged", error="loss is not finite", **{"seeds.init_seed": 9})
    assert late.primary_step == 600
    runs = [
        run_of("solved", 0, 300),
        run_of("censored", 1),
        run_of("diverged", 2, 100),
        late,
        run_of("error", 3),
        run_of("interrupted", 4),
    ]
    seen = sample(runs)
    assert seen.steps.tolist() == [300, 1000, 1000, 1000]
    assert seen.solved.tolist() == [True, False, False, False]
    assert seen.budget == 1000
    assert seen.statuses == {"solved": 1, "censored": 1, "diverged": 2, "error": 1, "interrupted": 1}


def test_sample_of_another_target() -> None:
    runs = [
        make_record(),
        run_of("censored", 1, hits={"rows_50": {"step": 800, "previous_step": 750}, "rows_100": NO_HIT}),
    ]
    assert sample(runs, "rows_50").steps.tolist() == [300, 800]
    assert sample(runs, "rows_50").solved.tolist() == [True, True]
    with pytest.raises(ValueError, match="unknown target 'rows_99'; the protocol's targets are rows_50, rows_100"):
        sample(runs, "rows_99")


def test_sample_censors_a_run_that_stopped_at_its_primary_target() -> None:
    """A later target was not watched for longer than the run: censored there, not at the budget."""
    run = make_record(**{"protocol.primary": "rows_50", "hits.rows_100": NO_HIT})
    assert sample([run], "rows_100").steps.tolist() == [650]
    assert sample([run], "rows_100").solved.tolist() == [False]


def test_sample_refuses_a_mixture() -> None:
    with pytest.raises(ValueError, match="one protocol, got 2"):
        sample([make_record(), make_record(**{"task.version": 2})])
    with pytest.raises(ValueError, match="one protocol, got 0"):
        sample([])


def test_a_repeated_seed_counts_once_and_the_first_run_counts() -> None:
    again = run_of("solved", 0, 100, started_at=START.replace(hour=18))
    first, failed = run_of("solved", 0, 900), run_of("error", 0, started_at=START.replace(hour=1))
    assert earliest_per_seed([again, first, failed]) == [failed, first]
