"""Error rates of the gate: its verdicts on simulated runs whose true ratio of times is known.

Hitting times are log-normal, as pilots of both tasks look; they are censored at the budget and seen through the
evaluation grid. Unsolved runs have learned nothing. What is simulated are `win_rate_verdict.judge` and `verdict.claim`
themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from leaderboard.statistics.verdict import Kind, claim
from leaderboard.statistics.win_rate import CellRuns, Finish
from leaderboard.statistics.win_rate_simulation import FEW_PERMUTATIONS
from leaderboard.statistics.win_rate_verdict import judge

# Of lite's cells, by task: median time of the reference and steps between evaluations, both as shares of the budget.
LITE = {
    "lm": ((0.08, 0.0125), (0.15, 0.01), (0.4, 0.01)),
    "ca": ((0.35, 0.025), (0.45, 0.02), (0.8, 0.0125)),
}


@dataclass(frozen=True)
class Scenario:
    """One simulated comparison.

    Attributes:
        ratio: times the reference's steps that the new arm takes, in truth.
        sigma: standard deviation of the logarithm of a hitting time.
        seeds, reference_seeds: runs per cell.
        tasks: (median hitting time of the reference, time between evaluations) of each task's cells, in budgets.
    """

    ratio: float
    sigma: float = 0.55
    seeds: int = 5
    reference_seeds: int = 20
    tasks: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=lambda: LITE)


def rates(scenario: Scenario, n: int = 1000, seed: int = 0) -> dict[Kind, float]:
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
    found = Counter(_verdict(scenario, random) for _ in range(n))
    return {kind: found[kind] / n for kind in get_args(Kind)}


def _verdict(scenario: Scenario, random: np.random.Generator) -> Kind:
    def arm(median: float, every: float, runs: int) -> list[Finish]:
        time_N = median * np.exp(scenario.sigma * random.standard_normal(runs))
        seen_N = (np.ceil(time_N / every) - 0.5) * every
        return [(seen if time <= 1 else None, 0.0) for time, seen in zip(time_N.tolist(), seen_N.tolist(), strict=True)]

    verdicts = [
        judge(
            {
                str(place): CellRuns(
                    arm(median * scenario.ratio, every, scenario.seeds), arm(median, every, scenario.reference_seeds)
                )
                for place, (median, every) in enumerate(cells)
            },
            FEW_PERMUTATIONS,
        )
        for cells in scenario.tasks.values()
    ]
    return claim([verdict.kind for verdict in verdicts])
