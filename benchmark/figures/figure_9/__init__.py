"""Figure 9: attention biased by the task's pattern, on both tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.arms import ratio_of_times
from benchmark.figures.claims.middle_values import median_against
from benchmark.figures.figure import Claim, Figure, Part, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs, where
from benchmark.figures.planting import cells_of, planted
from benchmark.figures.registry import TITLES

BIAS = 3.0
"""Added to the logits of the task's pattern; the paper's is not published, this one served best in pilots."""

PARTS = (Part(), Part(options={"attention_bias": BIAS}, name=f"bias={BIAS:g}"))
RATIO = {"none": 1.0, "published": 0.3, "reversed": 1.6}
"""Of the times with bias to those without, in simulations."""

SOON = 1_000
"""Steps in which the paper's biased runs are solved."""


def _series(run: FigureRun) -> str:
    return "with bias" if run["bias"] > 0 else "without bias"


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = ["without bias", "with bias"]
    lm = where(runs, task="lm")
    found = [
        ("lm: end of the plateau", lm, "first_part", "steps to the first row"),
        ("lm: all rows", lm, "rows_100", "steps to all rows"),
        ("ca: end of the plateau", where(runs, task="ca"), "plateau", "steps to the end of the plateau"),
    ]
    soon = {"the paper: solved before": published[0]["steps"]}
    return panels.beside(
        *(
            panels.strip(
                panels.strip_rows(group, target, _series),
                names,
                x_title=what,
                title=title,
                marks=soon if target == "rows_100" else None,
            )
            for title, group, target, what in found
        ),
        columns=1,
    )


def _expected(world: World, knobs: Mapping[str, Any]) -> float:
    return {"lm": 1200.0, "ca": 450.0}[knobs["task"]] * (RATIO[world] if knobs["bias"] else 1.0)


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    cells = [{**cell, "bias": bias} for bias in (0.0, BIAS) for cell in cells_of(FIGURE)]
    return planted(cells, _expected, ["rows_100", "plateau", "first_part"], world, n_seeds, random)


def _claim(name: str, sentence: str, published: str, task: str, target: str) -> Claim:
    return Claim(
        name,
        sentence,
        published,
        lambda runs: ratio_of_times(
            where(runs, task=task), {"bias": BIAS}, {"bias": 0.0}, target, claimed="less", matters=0.8
        ),
    )


CLAIMS = (
    _claim("lm, plateau", "On lm the first row is learned sooner with the bias.", "no plateau", "lm", "first_part"),
    _claim(
        "lm, all rows",
        "On lm all rows are learned sooner with the bias.",
        "solved in under 1,000 steps",
        "lm",
        "rows_100",
    ),
    _claim("ca, plateau", "On ca the plateau is shorter with the bias.", "no plateau", "ca", "plateau"),
    Claim(
        "lm, soon",
        f"On lm all rows are learned in less than {SOON:,} steps with the bias.",
        "solved in under 1,000 steps",
        lambda runs: median_against(
            [run.times["rows_100"] for run in where(runs, task="lm", bias=BIAS)], SOON, claimed="less", unit="steps"
        ),
    ),
)

FIGURE = Figure(
    "9",
    TITLES["9"],
    Path(__file__).parent,
    {"lite": Scale("0-7", PARTS), "paper": Scale("0-5", PARTS)},
    _draw,
    CLAIMS,
    _plant,
)
