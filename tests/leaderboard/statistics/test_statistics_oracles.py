"""Censored statistics against lifelines and statsmodels on random arms, and cases worked by hand.

Where a library's convention differs from ours it is said here:

- The median is the first step with S <= 1/2. lifelines compares without a tolerance, so that half of 20 runs, whose
  product rounds to a hair above 1/2, gives it the step of the eleventh; statsmodels (like SAS) asks for S < 1/2. Both
  are asked here for a quantile beside 1/2 by the hair HAIR, which makes their question ours.
- The log-log band is undefined where S is 0: log(-log 0). We and statsmodels leave it out, so that the median of an arm
  that was solved completely may have no upper end; lifelines sets both edges to 0 there, which ends the interval at the
  last hit.
- lifelines' curve starts at step 0, statsmodels' has event steps only; ours has a point at every distinct step.
- statsmodels' interval of the median keeps the event steps at which the band holds 1/2, which is the same as reading
  off where its edges get there.
"""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from leaderboard.statistics.survival import kaplan_meier, median, restricted_mean, wilson_interval

BUDGET = 40
HAIR = 1e-9  # beyond rounding, and below any step of a curve


def _arms() -> Iterator[tuple[str, Any]]:
    """Named arms (steps, solved): ties, all-censored, single runs, heavy ties at the budget, early censoring."""
    random = np.random.default_rng(20261122)
    for place in range(12):
        n = int(random.integers(2, 26))
        steps = random.integers(1, 9, n)  # few distinct steps: hits and censorings tie
        yield f"ties-{place}", (steps, random.random(n) < 0.6)
    for place in range(12):
        n = int(random.integers(3, 31))
        times = np.ceil(random.lognormal(math.log(25), 0.8, n))
        yield f"budget-{place}", (np.minimum(times, BUDGET), times <= BUDGET)  # hits at the budget itself, too
    for place in range(4):
        n = int(random.integers(5, 21))
        times = np.where(random.random(n) < 0.3, random.integers(1, BUDGET, n), BUDGET + 1)
        yield f"heavy-{place}", (np.minimum(times, BUDGET), times <= BUDGET)
    for place in range(4):
        n = int(random.integers(5, 21))
        yield f"continuous-{place}", (random.lognormal(3, 0.5, n), np.ones(n, dtype=bool))
    yield "all-censored", (np.full(7, BUDGET), np.zeros(7, dtype=bool))
    yield "all-censored-early", (np.array([3, 9, 9, 20]), np.zeros(4, dtype=bool))
    yield "one-solved", (np.array([12]), np.array([True]))
    yield "one-censored", (np.array([12]), np.array([False]))
    yield "all-at-once", (np.full(5, 12), np.ones(5, dtype=bool))
    yield "all-at-the-budget", (np.full(6, BUDGET), np.array([True, True, True, False, False, False]))
    yield "one-of-many", (np.full(20, BUDGET), np.arange(20) == 0)


ARMS = dict(_arms())
arms = pytest.mark.parametrize("name", list(ARMS))


@pytest.fixture(scope="module")
def lifelines() -> Any:
    """The library, imported here because that takes seconds; it sets off others' deprecations."""
    with warnings.catch_warnings(action="ignore"):
        import lifelines
        import lifelines.utils
    return lifelines


@pytest.fixture(scope="module")
def statsmodels() -> Any:
    with warnings.catch_warnings(action="ignore"):
        import statsmodels.api
        import statsmodels.stats.proportion
    return statsmodels


@arms
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_curve_and_band_against_lifelines(name: str, level: float, lifelines: Any) -> None:
    steps, solved = ARMS[name]
    ours = kaplan_meier(steps, solved, level)
    theirs = lifelines.KaplanMeierFitter(alpha=1 - level).fit(steps, solved)
    assert theirs.survival_function_.index.tolist() == [0.0, *ours.steps]
    np.testing.assert_allclose(theirs.survival_function_.to_numpy()[1:, 0], ours.survival, atol=1e-12)
    defined = ours.survival > 0
    low, high = theirs.confidence_interval_.to_numpy()[1:].T
    np.testing.assert_allclose(low[defined], ours.low[defined], atol=1e-9)
    np.testing.assert_allclose(high[defined], ours.high[defined], atol=1e-9)
    assert np.isnan(ours.low[~defined]).all()
    assert np.isnan(ours.high[~defined]).all()


@arms
def test_curve_and_greenwood_against_statsmodels(name: str, statsmodels: Any) -> None:
    """statsmodels gives Greenwood's standard error; the log-log band is worked from it here."""
    steps, solved = ARMS[name]
    ours = kaplan_meier(steps, solved)
    if not solved.any():
        assert (ours.survival == 1).all()  # statsmodels has no curve without an event
        return
    theirs = statsmodels.api.SurvfuncRight(steps, solved.astype(int))
    at_hits = np.isin(ours.steps, theirs.surv_times)
    np.testing.assert_allclose(theirs.surv_prob, ours.survival[at_hits], atol=1e-12)
    inside = (theirs.surv_prob > 0) & (theirs.surv_prob < 1)
    share, error = theirs.surv_prob[inside], theirs.surv_prob_se[inside]
    spread = 1.959963984540054 * error / (share * np.abs(np.log(share)))
    np.testing.assert_allclose(ours.low[at_hits][inside], share ** np.exp(spread), atol=1e-9)
    np.testing.assert_allclose(ours.high[at_hits][inside], share ** np.exp(-spread), atol=1e-9)


@arms
def test_median_against_both(name: str, lifelines: Any, statsmodels: Any) -> None:
    steps, solved = ARMS[name]
    ours = median(steps, solved).step
    fitted = lifelines.KaplanMeierFitter().fit(steps, solved)
    theirs = lifelines.utils.qth_survival_times(0.5 + HAIR, fitted.survival_function_)
    assert ours == (None if math.isinf(theirs) else theirs)
    if solved.any():
        quantile = statsmodels.api.SurvfuncRight(steps, solved.astype(int)).quantile(0.5 - HAIR)
        assert ours == (None if math.isnan(quantile) else quantile)


@arms
def test_interval_of_the_median_against_lifelines(name: str, lifelines: Any) -> None:
    """Ours has no upper end where theirs is no more than the step at which S, and with it their edge, is 0."""
    steps, solved = ARMS[name]
    curve, ours = kaplan_meier(steps, solved), median(steps, solved)
    band = lifelines.KaplanMeierFitter().fit(steps, solved).confidence_interval_
    low, high = lifelines.utils.qth_survival_times(0.5 + HAIR, band).to_numpy()[0]
    assert ours.low == (None if math.isinf(low) else low)
    if math.isinf(high):
        assert ours.high is None
    else:
        assert ours.high == high or (ours.high is None and curve.survival[curve.steps == high] == 0)


@arms
def test_interval_of_the_median_against_statsmodels(name: str, statsmodels: Any) -> None:
    steps, solved = ARMS[name]
    if not solved.any():  # it has no curve without an event
        return
    curve, ours = kaplan_meier(steps, solved), median(steps, solved)
    with warnings.catch_warnings(action="ignore"):  # log of 0 where the curve ends at 0
        low, high = statsmodels.api.SurvfuncRight(steps, solved.astype(int)).quantile_ci(0.5, method="cloglog")
    if math.isnan(low):  # at no event step does the band hold 1/2: it is below at once, or never gets there
        assert ours.low is None or ours.low == ours.step
    else:
        assert ours.low == low
        assert ours.high == high or (
            ours.high is None and (math.isinf(high) or curve.survival[curve.steps == high] == 0)
        )


def test_the_arms_hold_every_kind_of_median() -> None:
    medians = [median(*arm) for arm in ARMS.values()]
    assert sum(m.step is None and m.low is None for m in medians) >= 3
    assert sum(m.step is None and m.low is not None for m in medians) >= 4
    assert sum(m.step is not None and m.high is None for m in medians) >= 8
    assert sum(m.high is not None for m in medians) >= 10


def test_half_is_half_whatever_the_rounding(lifelines: Any) -> None:
    """Half of 20 runs; see above. With this a library that changed its mind would be noticed."""
    arm = range(1, 21), [True] * 20
    assert median(*arm).step == 10
    assert lifelines.KaplanMeierFitter().fit(*arm).median_survival_time_ == 11


@arms
@pytest.mark.parametrize("budget", [5, 17.5, BUDGET])
def test_restricted_mean_against_lifelines(name: str, budget: float, lifelines: Any) -> None:
    steps, solved = ARMS[name]
    fitted = lifelines.KaplanMeierFitter().fit(steps, solved)
    theirs = lifelines.utils.restricted_mean_survival_time(fitted, t=budget)
    assert restricted_mean(steps, solved, budget) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 20, 1000])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_wilson_against_statsmodels(n: int, level: float, statsmodels: Any) -> None:
    for n_solved in {0, 1, n // 3, n // 2, n - 1, n}:
        theirs = statsmodels.stats.proportion.proportion_confint(n_solved, n, 1 - level, method="wilson")
        assert wilson_interval(n_solved, n, level) == pytest.approx(theirs, abs=1e-12)


def test_greenwood_by_hand() -> None:
    """Five runs: solved at 10 and 30, censored at 20, two of them unsolved at the budget of 40.

    At 10: S = 4/5, Greenwood's sum 1/(5*4) = 1/20. At 30 three are at risk: S = 4/5 * 2/3 = 8/15,
    sum 1/20 + 1/(3*2) = 13/60. Band at 30: S ** exp(+-1.959964 sqrt(13/60) / |ln(8/15)|).
    ln(8/15) = -0.6286087, sqrt(13/60) = 0.4654747, so the exponent is exp(+-1.451322) = 4.268754 and 0.2342604.
    """
    curve = kaplan_meier([10, 20, 30, 40, 40], [True, False, True, False, False])
    assert curve.survival.tolist() == pytest.approx([0.8, 0.8, 8 / 15, 8 / 15])
    assert curve.low[2] == pytest.approx(math.exp(-0.6286087 * 4.268754), rel=1e-5)
    assert curve.high[2] == pytest.approx(math.exp(-0.6286087 * 0.2342604), rel=1e-5)
    # Nothing happens at a censoring. The exponentials may be those of a vector's body and of its tail.
    assert (curve.low[3], curve.high[3]) == pytest.approx((curve.low[2], curve.high[2]), rel=1e-12)


def test_restricted_mean_by_hand() -> None:
    """The same five runs: 10 + (30 - 10) * 4/5 + (40 - 30) * 8/15 = 10 + 16 + 16/3 = 31.33 steps."""
    arm = [10, 20, 30, 40, 40], [True, False, True, False, False]
    assert restricted_mean(*arm, 40) == pytest.approx(10 + 16 + 16 / 3)
    assert restricted_mean(*arm, 25) == pytest.approx(10 + 15 * 0.8)  # the budget cuts a step of the curve
    assert restricted_mean(*arm, 10) == pytest.approx(10)  # nothing solved before it
    # Beyond the last observation the curve stays where it is, so the mean goes on growing with the budget.
    assert restricted_mean(*arm, 50) == pytest.approx(10 + 16 + 20 * 8 / 15)


def test_ties_at_the_budget_by_hand() -> None:
    """Six runs at the step 40 of the budget, three of them solved there: 1/2 at 40, and 40 is the median.

    All six are at risk at 40: S = 1 - 3/6. The restricted mean is the whole budget: nobody solved it before.
    """
    steps, solved = ARMS["all-at-the-budget"]
    assert kaplan_meier(steps, solved).survival.tolist() == [0.5]
    assert median(steps, solved).step == 40
    assert restricted_mean(steps, solved, BUDGET) == BUDGET
    one_fewer = median(np.full(6, 40), np.arange(6) < 2)
    assert (one_fewer.step, one_fewer.high) == (None, None)


def test_single_runs_by_hand() -> None:
    """One run says where it solved and bounds nothing: no band, no upper end."""
    solved = median([12], [True])
    assert (solved.step, solved.low, solved.high) == (12, 12, None)
    assert restricted_mean([12], [True], 40) == 12
    assert restricted_mean([40], [False], 40) == 40
    # One of one: Wilson's lower end is 1 / (1 + z^2) = 1 / 4.841459.
    assert wilson_interval(1, 1) == pytest.approx((1 / 4.841459, 1), abs=1e-6)
