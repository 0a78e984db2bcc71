"""Figure 5a: the loss of `lm` after the whole budget, by sparsity and size of the state."""

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.contrast import above_both
from benchmark.figures.claims.middle_values import median_against
from benchmark.figures.figure import Claim, Figure, Part, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs, where
from benchmark.figures.judging import Finding
from benchmark.figures.planting import cells_of
from benchmark.figures.registry import TITLES

ROWS_LEFT = {"none": (5.0, 5.0, 5.0), "published": (0.05, 8.5, 1.0), "reversed": (8.5, 0.5, 8.5)}
"""Mean number of rows that are not learned at the sparse end, in the middle and at the dense end, in simulations."""


def _rows_left(run: FigureRun) -> float:
    """Rows that the loss at the end has not paid for: each is ln 2 / (2 S - 1) above the floor."""
    size = run["state_size"]
    floor = (size - 1) / (2 * size - 1) * log(2)
    return (run.loss - floor) * (2 * size - 1) / log(2)


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    papers = [{"x": row["n_nonzero"], "y": row["loss"], "series": f"S = {row['state_size']}"} for row in published]
    sizes = sorted({run["state_size"] for run in runs} | {row["state_size"] for row in published})
    return panels.dots(
        panels.losses(runs, lambda run: run["n_nonzero"], lambda run: f"S = {run['state_size']}"),
        papers,
        x_title="ones per row s",
        y_title="loss at the end (nats)",
        y_log=False,
        series=[f"S = {size}" for size in sizes],
        levels={"chance": log(2)},
    )


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    runs = []
    for cell in cells_of(FIGURE):
        size, ones = cell["state_size"], cell["n_nonzero"]
        low, middle, high = ROWS_LEFT[world]
        mean = low if ones <= size / 5 else high if ones >= size - 1 else middle
        left_N = random.binomial(size, min(mean / size, 1.0), n_seeds)
        for seed, left in enumerate(left_N.tolist()):
            loss = (size - 1 + left) / (2 * size - 1) * log(2)
            runs.append(FigureRun(cell, (seed, seed, seed), cell["budget"], {}, (), loss, log(2)))
    return runs


def _contrast(runs: Runs) -> Finding:
    """At the largest size: half of the cells against two of them and against all."""
    size = max((run["state_size"] for run in runs), default=0)
    cells = [[_rows_left(run) for run in where(runs, state_size=size, n_nonzero=ones)] for ones in (2, size // 2, size)]
    return above_both(cells[1], [cells[0], cells[2]], matters=1.0, unit="rows left in the middle more than at the ends")


def _sparse(runs: Runs) -> Finding:
    size = max((run["state_size"] for run in runs), default=0)
    values = [_rows_left(run) for run in where(runs, state_size=size, n_nonzero=2)]
    return median_against(values, 1.0, claimed="less", unit="rows left")


CLAIMS = (
    Claim(
        "middle is hardest",
        "lm is harder at medium sparsity (s = S / 2) than at s = 2 and at s = S: more rows are left at the end.",
        "S = 16: loss .669 at s = 8, .336 at s = 2, .358 at s = 16 (15, 0 and 1 rows left)",
        _contrast,
    ),
    Claim(
        "sparse is solved",
        "At s = 2 lm is solved within the budget: less than one row is left.",
        "S = 16: .336 (floor .3354); S = 32: s <= 2 solved",
        _sparse,
    ),
)

FIGURE = Figure(
    "5a",
    TITLES["5a"],
    Path(__file__).parent,
    {
        "lite": Scale("0-7"),
        "paper": Scale(
            "0-5", tuple(Part((f"lm_s{size}",), grid=(f"data.n_nonzero=1..{size}",)) for size in (8, 16, 32))
        ),
    },
    _draw,
    CLAIMS,
    _plant,
)
