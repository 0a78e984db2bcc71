"""Student's t distribution with any positive degrees of freedom: two-sided tail and quantile.

From `scipy.special`, imported when it is needed: it takes a third of a second, scipy.stats more than one.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def two_sided_tail(t: ArrayLike, df: ArrayLike) -> FloatArray:
    """P(|T| >= |t|), of the shape that `t` and `df` broadcast to; 1 at 0 degrees of freedom, where nothing is known.

    Raises:
        ValueError: negative degrees of freedom.
    """
    from scipy.special import stdtr

    df_K = np.asarray(df, dtype=np.float64)
    _require_not_negative(df_K)
    return np.where(df_K == 0, 1.0, 2 * stdtr(np.where(df_K == 0, 1.0, df_K), -np.abs(np.asarray(t, dtype=np.float64))))


def two_sided_quantile(level: float, df: float) -> float:
    """The t >= 0 with P(|T| >= t) = level; infinite at 0 degrees of freedom.

    Raises:
        ValueError: a level outside (0, 1), or negative degrees of freedom.
    """
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    _require_not_negative(df)
    return inf if df == 0 else -float(stdtrit(df, level / 2))


def _require_not_negative(df: ArrayLike) -> None:
    if np.min(df, initial=0) < 0:
        raise ValueError(f"degrees of freedom must not be negative, got {np.min(df):g}")
