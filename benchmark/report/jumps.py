"""Where a series over training jumps.

A series is cut where two constant levels describe it best, which finds a jump as well in a curve that drifts before it
or takes several evaluations for it; no threshold decides where it lies. Whether it is one is a question of its size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.report.run_folder import Floats

LEAST_FALL = 0.02
"""Share of chance that a loss falls between two evaluations in a jump of the whole run: less than one of 32 rows."""


class Jump(NamedTuple):
    """A step from one level to another."""

    place: int
    """Of the first value after it."""
    before: float
    after: float
    """Means of the values on its two sides."""

    @property
    def rise(self) -> float:
        """From one level to the other; negative for a fall."""
        return self.after - self.before


def change_point(values: Sequence[float] | Floats) -> Jump | None:
    """The cut of a series into two levels with the least sum of squares around them, the first of equal ones.

    Values that are NaN are left out.

    Returns:
        The jump, of whatever size; None if there are fewer than two values.
    """
    series = np.asarray(values, dtype=np.float64)
    places = np.flatnonzero(np.isfinite(series))
    x = series[places]
    if len(x) < 2:
        return None
    n = np.arange(1, len(x))
    sums = np.cumsum(x)[:-1]
    left, right = sums / n, (x.sum() - sums) / (len(x) - n)
    # The sum of squares within both sides is least where that between them is greatest.
    cut = int((n * (len(x) - n) * (right - left) ** 2).argmax())
    return Jump(int(places[cut + 1]), float(left[cut]), float(right[cut]))


def largest_fall(losses: Sequence[float] | Floats, chance: float) -> int | None:
    """Index of the evaluation before which a loss fell most since the one before it.

    What lies above chance counts as chance: the way down to it at the start of training is no emergence.

    Returns:
        None if the loss never fell by more than `LEAST_FALL` of chance.
    """
    falls = -np.diff(np.minimum(np.asarray(losses, dtype=np.float64), chance))
    if not len(falls) or not np.isfinite(falls).any() or np.nanmax(falls) <= LEAST_FALL * chance:
        return None
    return int(np.nanargmax(falls.round(6))) + 1  # the first of equal ones, whatever their last digits
