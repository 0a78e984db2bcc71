"""Figure 5b: the length of the plateau of `ca` over the size of the state, tokens per step held constant."""

from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.slopes import growth
from benchmark.figures.figure import Claim, Figure, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs
from benchmark.figures.planting import cells_of, planted
from benchmark.figures.registry import TITLES

FACTOR = {"none": 1.0, "published": 2.3, "reversed": 0.6}
"""By which a doubling of S multiplies the plateau in simulations; the paper's goes from 60 to 8,700 in six."""


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    papers = [{"x": row["state_size"], "y": row["steps"], "series": "transformer"} for row in published]
    return panels.dots(
        panels.hits(runs, "plateau", lambda run: run["state_size"], lambda run: "transformer"),
        papers,
        x_title="state size S (cells)",
        y_title="steps to the end of the plateau",
        x_log=True,
    )


def _expected(world: World, knobs: Mapping[str, Any]) -> float:
    return 300.0 * float(FACTOR[world]) ** (log2(knobs["state_size"]) - 3)


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    return planted(cells_of(FIGURE), _expected, ["plateau"], world, n_seeds, random)


CLAIMS = (
    Claim(
        "grows",
        "The plateau of ca grows with the size of the state.",
        "2.3 times the steps for each doubling of S (60 at S = 4, 8,700 at S = 256)",
        lambda runs: growth(
            runs,
            lambda run: log2(run["state_size"]),
            "plateau",
            claimed="more",
            matters=1.2,
            unit="times the steps per doubling of S",
        ),
    ),
)

FIGURE = Figure(
    "5b",
    TITLES["5b"],
    Path(__file__).parent,
    {"lite": Scale("0-7"), "paper": Scale("0-4")},
    _draw,
    CLAIMS,
    _plant,
)
