"""Where the randomness comes from: the time of emergence over crossed task, init and data seeds."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.variance_shares import (
    FACTORS,
    NAMES,
    VarianceShares,
    crossed_times,
    matters_at_all,
    variance_shares,
)
from benchmark.figures.figure import Claim, Figure, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs
from benchmark.figures.judging import Finding
from benchmark.figures.planting import cells_of, seen
from benchmark.figures.registry import TITLES

TARGET = "rows_100"
SHARES = {"none": 0.0, "published": 0.25, "reversed": 0.0}
"""Of the variance, of each of the three seeds alone, in simulations; the paper has no number, no share is below 0."""

SIGMA = 0.5


def _shares(runs: Runs) -> VarianceShares | None:
    try:
        return variance_shares(crossed_times(runs, TARGET))
    except ValueError:
        return None


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = _shares(runs)
    times = [_by_seed(runs, place) for place in range(len(FACTORS))]
    if found is None:
        return panels.beside(*times)
    rows = [
        {
            "name": name if name != "task x init x data" else "all three, and rest",
            "value": 100 * found.share[name],
            "low": 100 * found.low[name],
            "high": 100 * found.high[name],
        }
        for name in NAMES.values()
    ]
    shares = panels.intervals(rows, x_title="share of the variance of the time (%)", null=0, domain=(0, 100))
    return panels.beside(shares, *times)


def _by_seed(runs: Runs, place: int) -> dict[str, Any]:
    """The panel of one of the three seeds."""
    return panels.dots(
        panels.hits(runs, TARGET, lambda run: run.seeds[place], lambda run: "transformer"),
        [],
        x_title=f"{FACTORS[place]} seed",
        y_title="steps to all rows",
        title=f"by {FACTORS[place]} seed",
    )


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    (cell,) = cells_of(FIGURE)
    share = SHARES[world]
    sides = [SIGMA * share**0.5 * random.standard_normal(n_seeds) for _ in FACTORS]
    rest = SIGMA * (1 - 3 * share) ** 0.5
    runs = []
    for task, init, data in product(range(n_seeds), repeat=3):
        log_time = sides[0][task] + sides[1][init] + sides[2][data] + rest * random.standard_normal()
        (time,) = seen(700.0 * np.exp(np.array([log_time])), cell).tolist()
        loss = 0.0 if time < inf else 1.0
        runs.append(FigureRun(cell, (task, init, data), cell["budget"], {TARGET: time}, (), loss))
    return runs


def _claim(factor: str, what: str) -> Claim:
    def test(runs: Runs) -> Finding:
        return matters_at_all(_shares(runs), factor, matters=5.0)

    sentence = f"The {factor} seed, {what}, has a share of its own in when all rows are learned."
    return Claim(f"{factor} seed", sentence, "not published", test)


CLAIMS = (
    _claim("task", "which draws the matrix"),
    _claim("init", "which draws the weights"),
    _claim("data", "which draws the sequences and their order"),
)

FIGURE = Figure(
    "seeds",
    TITLES["seeds"],
    Path(__file__).parent,
    {"lite": Scale("0-4", crossed=True), "paper": Scale("0-4", crossed=True)},
    _draw,
    CLAIMS,
    _plant,
)
