"""Error rates of the gate: its verdicts on simulated runs whose true ratio of times is known.

Hitting times are log-normal, as pilots of both tasks look; they are censored at the budget and seen through the
evaluation grid. Unsolved runs get a loss that says nothing. What is simulated is `verdict.decide` itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from leaderboard.statistics.comparison import Outcomes, Pair, scores, tails
from leaderboard.statistics.verdict import MARGIN, Kind, claim

# Of lite: median steps of the transformer, budget, evaluation grid. Rounded: only their proportions matter.
LITE = ((1000.0, 3000, 25), (1500.0, 3000, 25), (2500.0, 3000, 25), (650.0, 1200, 25))
CHUNK = 200  # comparisons at a time: 9,999 permutations of each are held in memory


@dataclass(frozen=True)
class Scenario:
    """One simulated comparison.

    Attributes:
        ratio: times the reference's steps that the new arm takes, in truth.
        sigma: standard deviation of the logarithm of a hitting time.
        seeds, reference_seeds: runs per cell.
        cells: (median hitting step of the reference, budget, steps between evaluations) of each.
    """

    ratio: float
    sigma: float = 0.55
    seeds: int = 5
    reference_seeds: int = 20
    cells: Sequence[tuple[float, int, int]] = LITE


def rates(scenario: Scenario, n: int = 2000, seed: int = 0) -> dict[Kind, float]:
    """Share of `n` simulated comparisons that ends in each verdict.

    Raises:
        ValueError: a ratio, sigma or number that is not positive.
    """
    for name in ("ratio", "sigma", "seeds", "reference_seeds"):
        if not getattr(scenario, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(scenario, name)}")
    if n < 1:
        raise ValueError(f"the number of comparisons must be positive, got {n}")
    random = np.random.Generator(np.random.Philox(seed))
    found: Counter[Kind] = Counter()
    for start in range(0, n, CHUNK):
        found.update(_verdicts([_draw(scenario, random) for _ in range(min(CHUNK, n - start))]))
    return {kind: found[kind] / n for kind in get_args(Kind)}


def _draw(scenario: Scenario, random: np.random.Generator) -> list[Pair]:
    def arm(median: float, budget: int, every: int, runs: int) -> Outcomes:
        time_N = median * np.exp(scenario.sigma * random.standard_normal(runs))
        seen_N = (np.ceil(time_N / every) - 0.5) * every
        return Outcomes(np.where(time_N <= budget, seen_N, np.inf), random.random(runs), budget)

    return [
        (
            arm(median, budget, every, scenario.reference_seeds),
            arm(median * scenario.ratio, budget, every, scenario.seeds),
        )
        for median, budget, every in scenario.cells
    ]


def _verdicts(comparisons: Sequence[Sequence[Pair]]) -> list[Kind]:
    """The verdict of `decide` on each comparison, all permuted together, which is many times faster."""

    def both(ratio: float | None) -> tuple[np.ndarray, np.ndarray]:
        cells = [
            (scores(cell, None if ratio is None else [ratio] * len(cell)), len(cell[0][1]))
            for cell in zip(*comparisons, strict=True)
        ]
        return tails(cells)

    slower_K, faster_K = both(None)
    p_K = np.minimum(1.0, 2 * np.minimum(slower_K, faster_K))
    p_same_K = np.maximum(both(MARGIN)[1], both(1 / MARGIN)[0])
    return [claim(*map(float, values)) for values in zip(p_K, slower_K, faster_K, p_same_K, strict=True)]
