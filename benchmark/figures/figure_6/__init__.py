"""Figure 6: number and dimension of heads. At equal width more heads are narrower ones."""

from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.arms import ratio_of_times
from benchmark.figures.claims.slopes import growth
from benchmark.figures.figure import Claim, Figure, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs, where
from benchmark.figures.planting import cells_of, planted
from benchmark.figures.registry import TITLES

FACTOR = {"none": 1.0, "published": 0.6, "reversed": 1.5}
"""By which a doubling of the heads multiplies the time on `lm` in simulations."""

NARROW, WIDE = 2, 8
"""Dimensions of heads that are compared on `ca`."""

HINDERED = {"none": 1.0, "published": 2.0, "reversed": 0.6}
"""Times the steps that the narrow ones take on `ca` in simulations."""


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lm, ca = where(runs, task="lm"), where(runs, task="ca")
    papers = [{"x": row["n_heads"], "y": row["loss"], "series": "width 128"} for row in published]
    widths = sorted({run["d_model"] for run in runs} | {128})
    heads: dict[str, Any] = {"x_title": "heads H", "x_log": True, "series": [f"width {width}" for width in widths]}
    return panels.beside(
        panels.dots(
            panels.hits(lm, "rows_50", lambda run: run["n_heads"], lambda run: f"width {run['d_model']}"),
            [],
            y_title="steps to half of the rows",
            title="lm: time",
            **heads,
        ),
        panels.dots(
            panels.losses(lm, lambda run: run["n_heads"], lambda run: f"width {run['d_model']}"),
            papers,
            y_title="loss at the end (nats)",
            title="lm: loss",
            y_log=False,
            **heads,
        ),
        panels.dots(
            panels.hits(ca, "plateau", _head_dim, lambda run: f"width {run['d_model']}"),
            [],
            x_title="dimension of a head",
            y_title="steps to the end of the plateau",
            title="ca: time",
            x_log=True,
            series=heads["series"],
        ),
    )


def _head_dim(run: FigureRun) -> int:
    return int(run["d_model"]) // int(run["n_heads"])


def _expected(world: World, knobs: Mapping[str, Any]) -> float:
    if knobs["task"] == "lm":
        return 500.0 * float(FACTOR[world]) ** (log2(knobs["n_heads"]) - 3)
    return 450.0 * (HINDERED[world] if knobs["d_model"] // knobs["n_heads"] <= NARROW else 1.0)


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    return planted(cells_of(FIGURE), _expected, ["rows_50", "plateau"], world, n_seeds, random)


def _by_dimension(runs: Runs) -> list[FigureRun]:
    """Runs of `ca` with `head_dim` among their knobs."""
    return [
        FigureRun({**run.knobs, "head_dim": _head_dim(run)}, run.seeds, run.budget, run.times)
        for run in where(runs, task="ca")
    ]


CLAIMS = (
    Claim(
        "lm, heads against width",
        "On lm more and narrower heads need fewer steps than fewer and wider ones of the same total width.",
        "loss after 10,000 steps at width 128: .625, .493, .464, .343 with 1, 2, 4, 8 heads",
        lambda runs: growth(
            where(runs, task="lm"),
            lambda run: log2(run["n_heads"]),
            "rows_50",
            claimed="less",
            matters=0.95,
            unit="times the steps per doubling of the heads",
            strata=["d_model"],
        ),
    ),
    Claim(
        "ca, narrow heads",
        f"On ca heads of dimension {NARROW} need more steps to leave the plateau than heads of dimension {WIDE}.",
        "a minimum head dimension is needed, without a number",
        lambda runs: ratio_of_times(
            _by_dimension(runs),
            {"head_dim": NARROW},
            {"head_dim": WIDE},
            "plateau",
            claimed="more",
            matters=1.15,
            strata=["d_model"],
        ),
    ),
)

FIGURE = Figure(
    "6",
    TITLES["6"],
    Path(__file__).parent,
    {"lite": Scale("0-5"), "paper": Scale("0-4")},
    _draw,
    CLAIMS,
    _plant,
)
