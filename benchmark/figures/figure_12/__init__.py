"""Figure 12: all architectures on both tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.arms import share_ahead
from benchmark.figures.figure import Claim, Figure, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs, where
from benchmark.figures.judging import Finding
from benchmark.figures.planting import cells_of, planted
from benchmark.figures.registry import TITLES

REFERENCE = "transformer"
OTHERS = ("mlp_mixer", "gated_deltanet", "mamba", "rwkv", "xlstm", "lru")
TARGETS = {"lm": "staircase", "ca": "accuracy_85"}
SHOWN = {"lm": "steps to a row, mean over rows", "ca": "steps to an accuracy of .85"}
RATIO = {"none": 1.0, "published": 1.8, "reversed": 0.55}
"""Times the transformer's steps that the others take in simulations; of the mixer on `lm` the inverse."""


def _better(task: str, name: str) -> bool:
    """Whether the paper says so."""
    return task == "lm" and name == "mlp_mixer"


def _finding(runs: Runs, task: str, name: str) -> Finding:
    more = _better(task, name)
    return share_ahead(
        where(runs, task=task),
        {"architecture": name},
        {"architecture": REFERENCE},
        TARGETS[task],
        claimed="more" if more else "less",
        matters=60.0 if more else 40.0,
        strata=["state_size", "n_nonzero", "n_rules"],
    )


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    drawn = []
    for task in ("lm", "ca"):
        found = [(name, _finding(runs, task, name)) for name in OTHERS]
        rows = [
            {"name": name, "value": f.effect, "low": f.low, "high": f.high} for name, f in found if f.effect is not None
        ]
        title = f"{task}: pairs of runs ahead of the transformer (%)"
        drawn.append(
            panels.intervals(
                rows, x_title="95 % interval; right of the line is faster", null=50, title=title, domain=(0, 100)
            )
        )
        own = [run for run in where(runs, task=task) if run["architecture"] in (REFERENCE, *OTHERS)]
        drawn.append(_times(own, task))
    return panels.beside(*drawn)


def _times(runs: Runs, task: str) -> dict[str, Any]:
    """Times of single runs, one line of dots for each architecture."""
    order = [REFERENCE, *OTHERS]
    rows = panels.strip_rows(runs, TARGETS[task], lambda run: str(run["architecture"]))
    return panels.strip(rows, order, x_title=SHOWN[task], title=f"{task}: runs")


def _expected(world: World, knobs: Mapping[str, Any]) -> float:
    task, name = knobs["task"], knobs["architecture"]
    ratio = 1.0 if name == REFERENCE else 1 / RATIO[world] if _better(task, name) else RATIO[world]
    return 600.0 * ratio


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    return planted(cells_of(FIGURE), _expected, list(TARGETS.values()), world, n_seeds, random)


def _claim(task: str, name: str) -> Claim:
    ahead = "ahead of" if _better(task, name) else "behind"
    said = "worse than the transformer, without a number"
    return Claim(
        f"{task}, {name}",
        f"On {task} a run of {name} is mostly {ahead} one of the transformer.",
        "s = 3: loss 0.4 after 850 steps against 2,300" if _better(task, name) else said,
        lambda runs: _finding(runs, task, name),
    )


CLAIMS = tuple(_claim(task, name) for task in ("lm", "ca") for name in OTHERS)

FIGURE = Figure(
    "12",
    TITLES["12"],
    Path(__file__).parent,
    {"lite": Scale("0-9"), "paper": Scale("0-4")},
    _draw,
    CLAIMS,
    _plant,
)
