"""A value per run against a bound: the median over runs, by the sign test and the interval of order statistics.

Both are exact for any distribution: of n runs of which half lie above the median, the number above it is binomial.
Unbounded values are allowed, so that a run that never got there counts.
"""

from collections.abc import Sequence
from math import comb
from typing import Literal

import numpy as np

from benchmark.figures.judging import Finding, nothing


def median_against(
    values: Sequence[float],
    null: float,
    *,
    claimed: Literal["more", "less"],
    unit: str,
    matters: float | None = None,
    needs: int = 6,
) -> Finding:
    """The finding of a claim that the median over runs lies above or below a bound.

    A value at the bound counts against the claim.

    Args:
        values: one per run, inf for a run that never got there.
        null: the bound.
        claimed: the side on which the median is said to lie.
        unit: of the values.
        matters: the bound beyond which it would matter; the bound itself by default.
        needs: runs; with fewer than 5 no sign test is below 5 %, with fewer than 6 the interval is unbounded.
    """
    matters = null if matters is None else matters
    if not values:
        return nothing(claimed, null, matters, unit, needs)
    sorted_N = np.sort(np.array(values, dtype=np.float64))
    n = len(sorted_N)
    beyond = int(np.sum(sorted_N > null) if claimed == "more" else np.sum(sorted_N < null))
    p = _at_least(beyond, n)
    below = max((k for k in range(n // 2 + 1) if 1 - _at_least(k, n) <= 0.025), default=0)  # P(X < k) <= 2.5 %
    low, high = (float(sorted_N[below - 1]), float(sorted_N[n - below])) if below else (None, None)
    return Finding(float(np.median(sorted_N)), low, high, p, null, matters, claimed, unit, n, needs)


def _at_least(k: int, n: int) -> float:
    """Probability of k or more heads in n tosses of a fair coin."""
    return sum(comb(n, i) for i in range(k, n + 1)) / 2**n
