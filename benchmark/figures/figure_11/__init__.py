"""Figure 11: depth."""

from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.slopes import growth
from benchmark.figures.figure import Claim, Figure, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs, where
from benchmark.figures.planting import cells_of, planted
from benchmark.figures.registry import TITLES

FACTOR = {"none": 1.0, "published": 1.6, "reversed": 0.6}
"""By which a doubling of the layers multiplies the time on `lm` in simulations; on `ca` its inverse does."""

UNIT = "times the steps per doubling of the layers"


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    layers: dict[str, Any] = {"x_title": "layers", "x_log": True}
    return panels.beside(
        panels.dots(
            panels.hits(where(runs, task="lm"), "rows_100", lambda run: run["n_layers"], lambda run: "transformer"),
            [],
            y_title="steps to all rows",
            title="lm",
            **layers,
        ),
        panels.dots(
            panels.hits(where(runs, task="ca"), "plateau", lambda run: run["n_layers"], lambda run: "transformer"),
            [],
            y_title="steps to the end of the plateau",
            title="ca",
            **layers,
        ),
    )


def _expected(world: World, knobs: Mapping[str, Any]) -> float:
    doublings = log2(knobs["n_layers"])
    return 600.0 * FACTOR[world] ** (doublings if knobs["task"] == "lm" else 1 - doublings)


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    return planted(cells_of(FIGURE), _expected, ["rows_100", "plateau"], world, n_seeds, random)


CLAIMS = (
    Claim(
        "lm, depth hinders",
        "On lm a deeper transformer needs more steps to learn all rows.",
        "1 layer is reliable, 8 and 12 layers fail in 10,000 steps",
        lambda runs: growth(
            where(runs, task="lm"),
            lambda run: log2(run["n_layers"]),
            "rows_100",
            claimed="more",
            matters=1.1,
            unit=UNIT,
        ),
    ),
    Claim(
        "ca, depth helps",
        "On ca a deeper transformer needs fewer steps to leave the plateau.",
        "depth helps, without a number",
        lambda runs: growth(
            where(runs, task="ca"),
            lambda run: log2(run["n_layers"]),
            "plateau",
            claimed="less",
            matters=0.95,
            unit=UNIT,
        ),
    ),
)

FIGURE = Figure(
    "11",
    TITLES["11"],
    Path(__file__).parent,
    {"lite": Scale("0-7"), "paper": Scale("0-4")},
    _draw,
    CLAIMS,
    _plant,
)
