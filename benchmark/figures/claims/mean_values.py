"""A value per run against a bound: the mean over runs, by Student's t; of shares, by the score test."""

from collections.abc import Sequence
from math import inf, sqrt
from typing import Literal

import numpy as np
from scipy.stats import t as student

from benchmark.figures.judging import Finding, nothing


def share_against(
    shares: Sequence[float], null: float, *, claimed: Literal["more", "less"], unit: str, needs: int = 5
) -> Finding:
    """The finding of a claim that the mean of shares lies above or below a bound, by the score test.

    The test takes the variance that the bound implies, for the number of independent trials that the shares are worth
    (the leaderboard's win rates are tested so too), because shares near 0 or 100 % are skewed. One run at the bound is
    added to the others, so that there is a variance where all of them agree.

    Args:
        shares: one per run, in percent.
        null: the bound, in percent, neither 0 nor 100.
        claimed: the side on which the mean is said to lie.
        unit: of the shares.
        needs: runs.
    """
    if not shares:
        return nothing(claimed, null, null, unit, needs)
    n, bound = len(shares), null / 100
    values_N = np.array([*shares, null]) / 100
    mean = float(values_N.mean())
    variance = float(values_N.var(ddof=1)) / (n + 1)
    trials = mean * (1 - mean) / variance if variance else inf
    z = (mean - bound) / sqrt(bound * (1 - bound) / trials)
    p = float(student.sf(z, n) if claimed == "more" else student.cdf(z, n))
    wide = float(student.ppf(0.975, n)) ** 2 / trials
    middle, away = mean + wide / 2, sqrt(wide * (mean * (1 - mean) + wide / 4))
    low, high = (100 * (middle + side * away) / (1 + wide) for side in (-1, 1))
    return Finding(float(np.mean(shares)), low, high, p, null, null, claimed, unit, n, needs)


def mean_within(values: Sequence[float], bound: float, *, unit: str, signed: bool = False, needs: int = 5) -> Finding:
    """The finding of a claim that the mean over runs lies between -bound and bound: two one-sided tests.

    Args:
        values: one per run.
        bound: the nearest mean on either side that is too far away.
        unit: of the values.
        signed: whether effect and interval are those of the mean; else those of its distance from 0.
        needs: runs.
    """
    if len(values) < 2:
        return nothing("less", bound, bound, unit, needs)
    mean, low, high, above, _ = _student(values, -bound)
    p = max(above, _student(values, bound)[4])
    if not signed:
        low, high = (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
        mean = abs(mean)
    return Finding(mean, low, high, p, bound, bound, "less", unit, len(values), needs)


def _student(values: Sequence[float], null: float) -> tuple[float, float, float, float, float]:
    """Mean, ends of its 95 % interval, and the p values of a mean that is more and one that is less than `null`."""
    n, mean, error = len(values), float(np.mean(values)), float(np.std(values, ddof=1)) / sqrt(len(values))
    sign = (mean > null) - (mean < null)
    z = (mean - null) / error if error else sign * inf if sign else 0.0
    away = float(student.ppf(0.975, n - 1)) * error
    return mean, mean - away, mean + away, float(student.sf(z, n - 1)), float(student.cdf(z, n - 1))
