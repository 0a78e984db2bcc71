"""The columns of a file of learning curves."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Curves:
    """The columns of a file of curves, and what `curves_reader` says of `loss_by_position_nats`, row by row.

    `scored_means`, `late_means` and `low_cells` are empty where sequences are not made of states; `parts` says of every
    part of the task, row by row, whether it is solved (1 or 0), and is empty where the file does not say.
    """

    steps: list[int]
    metrics: dict[str, list[float]]
    n_positions: int
    position_means: list[float]
    digests: list[str]
    scored_means: list[float]
    late_means: list[float]
    low_cells: list[int]
    parts: list[str]

    def finite(self, row: int) -> bool:
        """Whether every value of a row is a finite number."""
        return all(math.isfinite(column[row]) for column in (*self.metrics.values(), self.position_means))
