"""How well values single out the ones that count, equal values in a random order: their expectation, not their luck.

An untrained recurrent model depends on its own token only, exactly: all other values are 0 alike, and an order that a
sort happens to leave them in would be an artefact.

Shape letters: n candidates, of which k count.
"""

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]
Marks = npt.NDArray[np.bool_]


def expected_average_precision(values_n: Values, counts_n: Marks) -> float:
    """The mean over those that count of the precision at their rank, in expectation over the order of equal values.

    Of m equal values, of which r count, after N greater ones, of which R count, the j-th counts with probability r / m,
    and then (j - 1) (r - 1) / (m - 1) of those before it do on average.

    Args:
        values_n: (n,), larger ones rank first.
        counts_n: (n,) bool, at least one.
    """
    before, counted, total = 0, 0, 0.0
    for value in np.unique(values_n)[::-1]:
        tied = values_n == value
        m, r = int(tied.sum()), int(counts_n[tied].sum())
        if r:
            j = np.arange(1, m + 1)
            among = (j - 1) * (r - 1) / max(m - 1, 1)
            total += r / m * float(((counted + 1 + among) / (before + j)).sum())
        before, counted = before + m, counted + r
    return total / counted


def chance_average_precision(n: int, k: int) -> float:
    """The expected average precision of a random order: H_n / n + (k - 1) / (n - 1) (1 - H_n / n), H_n harmonic."""
    mean = sum(1 / i for i in range(1, n + 1)) / n
    return mean + (k - 1) / max(n - 1, 1) * (1 - mean)


def probability_exact(values_n: Values, counts_n: Marks) -> float:
    """The probability that all that count come before all others: 1 or 0, and between where equal values decide it."""
    least, most = values_n[counts_n].min(), values_n[~counts_n].max(initial=-np.inf)
    if least != most:
        return float(least > most)
    tied = values_n == least
    return 1 / math.comb(int(tied.sum()), int((tied & counts_n).sum()))
