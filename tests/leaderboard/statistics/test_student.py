"""Student's t against closed forms, scipy.stats and its own inverse."""

import math

import numpy as np
import pytest
from scipy import stats

from leaderboard.statistics.student import two_sided_quantile, two_sided_tail

DFS = (0.5, 1.0, 1.7, 2.0, 4.52, 18.0, 100.3, 5000.0)


def test_tail_against_scipy() -> None:
    t_K1, df_K = np.geomspace(0.001, 60, 41)[:, None], np.array(DFS)
    theirs = 2 * stats.t.sf(t_K1, df_K)
    seen = theirs > 1e-290
    np.testing.assert_allclose(two_sided_tail(t_K1, df_K)[seen], theirs[seen], rtol=1e-10)
    assert (two_sided_tail(-t_K1, df_K) == two_sided_tail(t_K1, df_K)).all()


@pytest.mark.parametrize("df", DFS)
@pytest.mark.parametrize("level", [1e-9, 0.001, 0.05, 0.5, 0.999999])
def test_quantile_against_scipy(df: float, level: float) -> None:
    quantile = two_sided_quantile(level, df)
    assert quantile == pytest.approx(stats.t.isf(level / 2, df), rel=1e-9)
    assert float(two_sided_tail(quantile, df)) == pytest.approx(level, rel=1e-10)


def test_closed_forms() -> None:
    """One degree of freedom is Cauchy's distribution; with two the tail is 1 - t / sqrt(2 + t^2)."""
    assert float(two_sided_tail(1.0, 1)) == pytest.approx(0.5, rel=1e-14)
    assert two_sided_quantile(0.05, 1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-12)
    assert float(two_sided_tail(3.0, 2)) == pytest.approx(1 - 3 / math.sqrt(11), rel=1e-13)


def test_ends() -> None:
    assert two_sided_tail([0.0, np.inf, 5.0, np.inf], [3, 3, 0, 0]).tolist() == [1, 0, 1, 1]
    assert two_sided_quantile(0.05, 0) == math.inf
    assert two_sided_tail(np.zeros((0, 2)), 3).shape == (0, 2)


def test_nonsense() -> None:
    with pytest.raises(ValueError, match="degrees of freedom must not be negative, got -1"):
        two_sided_tail(1.0, -1)
    with pytest.raises(ValueError, match="degrees of freedom must not be negative, got -1"):
        two_sided_quantile(0.1, -1)
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=f"level must lie between 0 and 1, got {level}"):
            two_sided_quantile(level, 3)
