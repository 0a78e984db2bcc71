"""The columns of a file of learning curves."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Curves:
    """The columns of a file of curves, and what `curves_reader` says of `loss_by_position_nats`, row by row.

    The last three are empty where sequences are not made of states.
    """

    steps: list[int]
    metrics: dict[str, list[float]]
    n_positions: int
    position_means: list[float]
    digests: list[str]
    scored_means: list[float]
    late_means: list[float]
    low_cells: list[int]

    def finite(self, row: int) -> bool:
        """Whether every value of a row is a finite number."""
        return all(math.isfinite(column[row]) for column in (*self.metrics.values(), self.position_means))
