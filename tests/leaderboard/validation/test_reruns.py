"""The test on hitting steps of whole runs that were done again: false alarms and power, simulated."""

import math
from functools import cache

import numpy as np
import pytest

from leaderboard.validation.forgery import reruns
from leaderboard.validation.forgery.reruns import ALARM, log_ratio, p_value
from tests.helpers.leaderboard.records import make_record


@cache
def critical(n: int) -> float:
    """The median of n log ratios from which on records are refused."""
    low, high = 0.0, 5.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if p_value([middle] * n) < ALARM else (middle, high)
    return high


def refused(ratios: np.ndarray) -> float:
    """Share of rows (times, n) that are refused."""
    return float((np.median(ratios, axis=1) >= critical(ratios.shape[1])).mean())


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_false_alarms(n: int) -> None:
    """Under the model itself, and two noises not fitted: log-normal, and one in twenty off by a factor of 3."""
    times, random = 40_000, np.random.default_rng(1)
    assert refused(reruns.simulated(n, times, seed=1)) == pytest.approx(ALARM, abs=0.003)
    assert refused(0.15 * random.standard_normal((times, n))) <= ALARM
    slow = random.random((times, n)) < 0.05
    mixed = np.where(slow, math.log(3), 0.0) * random.choice([-1, 1], (times, n))
    if n >= 4:
        assert refused(mixed + 0.15 * random.standard_normal((times, n))) <= 2 * ALARM


@pytest.mark.slow
@pytest.mark.parametrize(("n", "factor", "power"), [(4, 2.0, 0.98), (4, 4.0, 0.99), (8, 1.5, 0.97), (2, 4.0, 0.95)])
def test_power(n: int, factor: float, power: float) -> None:
    """Records whose hits are all `factor` times too early."""
    assert refused(math.log(factor) + reruns.simulated(n, 40_000, seed=2)) >= power


def test_ratio_of_a_run() -> None:
    record = make_record()  # rows_50 at 300, rows_100 at 600, budget 1000
    assert log_ratio(record, {"rows_50": 300, "rows_100": 600}) == 0.0
    assert log_ratio(record, {"rows_50": 600, "rows_100": 1200}) == pytest.approx(math.log(2))
    assert log_ratio(record, {"rows_50": 300, "rows_100": None}) == pytest.approx(math.log(1050 / 600) / 2)
    never = {"step": None, "previous_step": None}
    failed = make_record(status="censored", steps=1000, hits={"rows_50": never, "rows_100": never})
    assert log_ratio(failed, {"rows_50": None, "rows_100": None}) is None
    found = log_ratio(failed, {"rows_50": 300, "rows_100": None})
    assert found is not None and found < 0  # a record that is worse than the run is no forgery
