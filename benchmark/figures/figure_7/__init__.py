"""Figure 7: an MLP-Mixer against a transformer, on `lm` at three sparsities, and on `ca`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.arms import ratio_of_times
from benchmark.figures.figure import Claim, Figure, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs, where
from benchmark.figures.judging import Finding
from benchmark.figures.planting import cells_of, planted
from benchmark.figures.registry import TITLES

MIXER, TRANSFORMER = {"architecture": "mlp_mixer"}, {"architecture": "transformer"}
RATIO = {"none": 1.0, "published": 0.37, "reversed": 2.0}
"""Of the mixer's times on `lm` to the transformer's in simulations; on `ca` the inverse."""


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lm, ca = where(runs, task="lm"), where(runs, task="ca")
    papers = [{"x": row["n_nonzero"], "y": row["loss"], "series": row["architecture"]} for row in published]
    names = ["transformer", "mlp_mixer"]
    return panels.beside(
        panels.dots(
            panels.hits(lm, "rows_50", lambda run: run["n_nonzero"], lambda run: run["architecture"]),
            [],
            x_title="ones per row s",
            y_title="steps to half of the rows",
            title="lm: time",
            series=names,
        ),
        panels.dots(
            panels.losses(lm, lambda run: run["n_nonzero"], lambda run: run["architecture"]),
            papers,
            x_title="ones per row s",
            y_title="loss at the end (nats)",
            title="lm: loss",
            y_log=False,
            series=names,
        ),
        panels.strip(
            panels.strip_rows(ca, "plateau", lambda run: str(run["architecture"])),
            names,
            x_title="steps to the end of the plateau",
            title="ca: time",
        ),
    )


def _expected(world: World, knobs: Mapping[str, Any]) -> float:
    ratio = RATIO[world] if knobs["architecture"] == "mlp_mixer" else 1.0
    if knobs["task"] == "ca":
        return 500.0 / ratio**0.5
    return {2: 350.0, 3: 900.0, 4: 1800.0}[knobs["n_nonzero"]] * ratio


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    return planted(cells_of(FIGURE), _expected, ["rows_50", "plateau"], world, n_seeds, random)


def _at(place: int) -> Callable[[Runs], Finding]:
    """The test at the place-th of the sparsities, ascending."""

    def test(runs: Runs) -> Finding:
        lm = where(runs, task="lm")
        sparsities = sorted({run["n_nonzero"] for run in lm})
        chosen = where(lm, n_nonzero=sparsities[place]) if place < len(sparsities) else []
        return ratio_of_times(chosen, MIXER, TRANSFORMER, "rows_50", claimed="less", matters=0.8)

    return test


def _claim(place: int, name: str, which: str, published: str) -> Claim:
    sentence = f"On lm the mixer needs fewer steps than the transformer for half of the rows, at the {which} sparsity."
    return Claim(name, sentence, published, _at(place))


CLAIMS = (
    _claim(0, "lm, smallest s", "smallest", "s = 3: loss 0.4 after 850 steps against 2,300 (0.37 times)"),
    _claim(1, "lm, middle s", "middle", "s = 5: loss .395 against .59 after 10,000 steps"),
    _claim(2, "lm, largest s", "largest", "s = 7: loss .46 against .588 after 10,000 steps"),
    Claim(
        "ca, reversed",
        "On ca the mixer needs more steps than the transformer to leave the plateau.",
        "reversed, without a number",
        lambda runs: ratio_of_times(where(runs, task="ca"), MIXER, TRANSFORMER, "plateau", claimed="more", matters=1.1),
    ),
)

FIGURE = Figure(
    "7",
    TITLES["7"],
    Path(__file__).parent,
    {"lite": Scale("0-7"), "paper": Scale("0-4")},
    _draw,
    CLAIMS,
    _plant,
)
