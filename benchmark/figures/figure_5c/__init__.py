"""Figure 5c: the plateau of `ca` over the size of the state where attention is biased by the task's pattern."""

from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.arms import ratio_of_times
from benchmark.figures.claims.slopes import growth
from benchmark.figures.figure import Claim, Figure, Part, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs, where
from benchmark.figures.planting import cells_of, planted
from benchmark.figures.registry import TITLES

BIAS = 3.0
"""Added to the logits of the task's pattern; the paper's is not published, this one served best in pilots."""

PARTS = (Part(), Part(options={"attention_bias": BIAS}, name=f"bias={BIAS:g}"))
HARDLY = 1.5
"""Times the steps per doubling of S: less than that is hardly any growth."""

GROWTH = {"none": (1.5, 1.5), "published": (2.3, 1.05), "reversed": (1.05, 2.3)}
"""Per doubling of S without and with bias, in simulations."""

WORDS = {False: "without bias", True: "with bias"}


def _series(run: FigureRun) -> str:
    return WORDS[run["bias"] > 0]


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return panels.dots(
        panels.hits(runs, "plateau", lambda run: run["state_size"], _series),
        [{"x": row["state_size"], "y": row["steps"], "series": WORDS[row["bias"]]} for row in published],
        x_title="state size S (cells)",
        y_title="steps to the end of the plateau",
        x_log=True,
        series=list(WORDS.values()),
    )


def _expected(world: World, knobs: Mapping[str, Any]) -> float:
    without, biased = GROWTH[world]
    at_8 = 300.0 if not knobs["bias"] or world == "none" else 150.0 if world == "published" else 600.0
    return at_8 * (biased if knobs["bias"] else without) ** (log2(knobs["state_size"]) - 3)


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    cells = [{**cell, "bias": bias} for bias in (0.0, BIAS) for cell in cells_of(FIGURE)]
    return planted(cells, _expected, ["plateau"], world, n_seeds, random)


CLAIMS = (
    Claim(
        "shorter",
        "With the task's pattern in the attention the plateau of ca is shorter, compared at equal sizes.",
        "160 to 205 steps at every S >= 8, against 375 (S = 8) to 8,700 (S = 256)",
        lambda runs: ratio_of_times(
            where(runs, state_size=tuple({run["state_size"] for run in runs if run["state_size"] >= 8})),
            {"bias": BIAS},
            {"bias": 0.0},
            "plateau",
            claimed="less",
            matters=0.8,
            strata=["state_size"],
        ),
    ),
    Claim(
        "hardly grows",
        f"With it the plateau hardly grows: less than {HARDLY:g} times for each doubling of S from 8 on.",
        "160 to 205 steps at every S >= 8 (at most 1.04 times for each doubling)",
        lambda runs: growth(
            [run for run in where(runs, bias=BIAS) if run["state_size"] >= 8],
            lambda run: log2(run["state_size"]),
            "plateau",
            claimed="less",
            null=HARDLY,
            matters=HARDLY,
            unit="times the steps per doubling of S",
        ),
    ),
)

FIGURE = Figure(
    "5c",
    TITLES["5c"],
    Path(__file__).parent,
    {"lite": Scale("0-7", PARTS), "paper": Scale("0-4", PARTS)},
    _draw,
    CLAIMS,
    _plant,
)
