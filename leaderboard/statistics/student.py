"""Student's t distribution with any positive degrees of freedom: two-sided tail and quantile.

NumPy and the standard library only: importing scipy.stats costs more than a second. The tests hold these against it.
"""

from __future__ import annotations

from math import exp, inf, lgamma, log, pi, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_MAX_TERMS = 10_000  # of the continued fraction: it needs about the root of the degrees of freedom
_PRECISION = 1e-15
_TINY = 1e-300  # stands for a denominator of 0 (Lentz)

_log_gamma = np.vectorize(lgamma, otypes=[np.float64])


def two_sided_tail(t: ArrayLike, df: ArrayLike) -> FloatArray:
    """P(|T| >= |t|), of the shape that `t` and `df` broadcast to.

    It is the regularised incomplete beta function I_x(df/2, 1/2) at x = df / (df + t^2) (Abramowitz and Stegun 1964,
    26.7.1). At 0 degrees of freedom, the limit, it is 1: nothing is known.

    Raises:
        ValueError: negative degrees of freedom.
    """
    t_K, df_K = np.broadcast_arrays(np.abs(np.asarray(t, dtype=np.float64)), np.asarray(df, dtype=np.float64))
    if (df_K < 0).any():
        raise ValueError(f"degrees of freedom must not be negative, got {df_K.min()}")
    result_K = np.ones(t_K.shape)
    result_K[(df_K > 0) & np.isinf(t_K)] = 0.0
    inside_K = (df_K > 0) & np.isfinite(t_K) & (t_K > 0)
    square_K, half_K = t_K[inside_K] ** 2, df_K[inside_K] / 2
    total_K = 2 * half_K + square_K
    result_K[inside_K] = _incomplete_beta(2 * half_K / total_K, square_K / total_K, half_K)
    return result_K


def two_sided_quantile(level: float, df: float) -> float:
    """The t >= 0 with P(|T| >= t) = level; infinite at 0 degrees of freedom.

    Newton's method on the logarithm of the tail as a function of log t, which is concave and falls: from the normal
    quantile, which lies below, the first step reaches beyond the root and the others return to it.

    Raises:
        ValueError: a level outside (0, 1), or negative degrees of freedom.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if df < 0:
        raise ValueError(f"degrees of freedom must not be negative, got {df}")
    if df == 0:
        return inf
    t = -NormalDist().inv_cdf(level / 2)
    for _ in range(100):
        tail = float(two_sided_tail(t, df))
        density = exp(lgamma((df + 1) / 2) - lgamma(df / 2) - (df + 1) / 2 * np.log1p(t * t / df)) / sqrt(df * pi)
        step = tail * (log(tail) - log(level)) / (2 * density * t)
        t *= exp(step)
        if abs(step) < 1e-9:  # convergence is quadratic
            break
    return t


def _incomplete_beta(x_K: FloatArray, complement_K: FloatArray, a_K: FloatArray) -> FloatArray:
    """I_x(a, 1/2) by its continued fraction, from whichever end it converges fast; `complement_K` is 1 - x."""
    b_K = np.full_like(a_K, 0.5)
    swap_K = x_K > (a_K + 1) / (a_K + 2.5)
    first_K, second_K = np.where(swap_K, b_K, a_K), np.where(swap_K, a_K, b_K)
    at_K, other_K = np.where(swap_K, complement_K, x_K), np.where(swap_K, x_K, complement_K)
    log_front_K = _log_gamma(a_K + b_K) - _log_gamma(a_K) - _log_gamma(b_K) if len(a_K) else a_K
    with np.errstate(divide="ignore", under="ignore"):
        front_K = np.exp(log_front_K + first_K * np.log(at_K) + second_K * np.log(other_K)) / first_K
    value_K = front_K * _fraction(at_K, first_K, second_K)
    return np.where(swap_K, 1 - value_K, value_K)


def _fraction(x_K: FloatArray, a_K: FloatArray, b_K: FloatArray) -> FloatArray:
    """The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8) by Lentz's method."""

    def kept_off_zero(value_K: FloatArray) -> FloatArray:
        return np.where(np.abs(value_K) < _TINY, _TINY, value_K)

    c_K = np.ones_like(x_K)
    d_K = 1 / kept_off_zero(1 - (a_K + b_K) * x_K / (a_K + 1))
    value_K = d_K
    for m in range(1, _MAX_TERMS):
        even_K = m * (b_K - m) * x_K / ((a_K + 2 * m - 1) * (a_K + 2 * m))
        odd_K = -(a_K + m) * (a_K + b_K + m) * x_K / ((a_K + 2 * m) * (a_K + 2 * m + 1))
        for term_K in (even_K, odd_K):
            d_K = 1 / kept_off_zero(1 + term_K * d_K)
            c_K = kept_off_zero(1 + term_K / c_K)
            factor_K = c_K * d_K
            value_K = value_K * factor_K
        if not (np.abs(factor_K - 1) > _PRECISION).any():
            break
    return value_K
